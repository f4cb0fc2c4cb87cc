// How operations that need all distances of a row at once walk over the rows: blocks of rows, as many as the
// second-level cache holds.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/core/ceil_div.h"
#include "kernels/core/check.h"
#include "kernels/cuda/block_sort.h"
#include "kernels/cuda/sort.h"

namespace duet::cuda {

// 4096 x 4096 elements are 64 MB, somewhat more than an H200's second-level cache (50 MB); 2048 rows are sixteen tiles
// high, so that the products of a block fill the device many times over.
inline constexpr int64_t kBlockElements = int64_t{1} << 24, kMostBlockRows = 2048;

constexpr int64_t block_rows(int64_t n, int64_t m) {
  return std::min(n, std::clamp<int64_t>(kBlockElements / std::max<int64_t>(m, 1), 1, kMostBlockRows));
}

// body(first row, number of rows)
template <class Body>
void for_each_row_block(int64_t n, int64_t height, Body&& body) {
  for (int64_t first = 0; first < n; first += height) body(first, std::min(height, n - first));
}

// What sorting rows past shared memory takes: fewer rows at once than a block holds, as each key is 16 bytes here. No
// memory for shorter rows.
struct LongRows {
  int64_t rows = 0, columns;
  uint64_t *keys, *spare;  // rows x columns
  void* temporary;
  size_t bytes = 0;

  // longest: the most columns of a row that shared memory sorts.
  LongRows(Workspace& workspace, const duet_context& context, int64_t n, int64_t m, int64_t longest = kLargestSort)
      : columns(m) {
    constexpr int64_t kElements = kBlockElements / 4;
    if (m > longest) rows = std::min(n, std::clamp<int64_t>(kElements / m, 1, kMostSortedRows));
    if (rows > 0) bytes = sort_rows_bytes(context, rows, m);
    keys = workspace.take<uint64_t>(rows * m);
    spare = workspace.take<uint64_t>(rows * m);
    temporary = workspace.take<char>(static_cast<int64_t>(bytes));
  }
  explicit operator bool() const { return rows > 0; }
  const uint64_t* sort(const duet_context& context, int64_t count) const {
    return sort_rows(context, keys, spare, count, columns, temporary, bytes);
  }
};

}  // namespace duet::cuda
