// Blocks of whole rows of an n x m matrix that is never stored, for operations that sort or mine a row from end to end:
// the elements of a block are products, computed tile by tile for all of its rows. Then each row is read on its own.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace duet::cpu {

// Rows of a block that one work item reads: a batch of 128 gives 8 threads an item each.
constexpr int64_t kGroupRows = 16;

// Rows of a block, of n rows of m columns: 16 times a power of 2, a node of the tree over rows (row_tree.h), or all.
// Fewer where rows are long: a block of float32 stays below 17 MB up to m = 2^18.
constexpr int64_t row_block_rows(int64_t n, int64_t m) {
  const auto groups = static_cast<uint64_t>(std::clamp<int64_t>((1 << 18) / std::max<int64_t>(m, 1), 1, 8));
  return std::min(n, kGroupRows * static_cast<int64_t>(std::bit_floor(groups)));
}

// Elements from a row of a block to the next. Rows a multiple of 4 KB apart would share the few places of one set of
// the cache.
constexpr int64_t row_block_stride(int64_t m) { return ceil_div(m, 16) * 16 + 16; }

// Calls body(first row, rows, first column, columns) for the tiles of a block, spread over the threads. Where rows are
// long, a tile is narrow and as high as the block, so that the second operand of its product, which may not fit a
// core's cache, is read once a block. Where rows are short, there would be too few such tiles for the threads. A tile
// is then a few whole rows, in a number that suits the products (12 or 6 at a time). First columns are multiples of
// 128.
template <class Body>
void for_each_tile_of_rows(const duet_context& context, int64_t rows, int64_t columns, Body&& body) {
  constexpr int64_t kLongRow = 1024, kTileColumns = 128, kTileRows = 24;
  if (columns >= kLongRow)
    parallel_chunks(context, columns, kTileColumns,
                    [&](int64_t first, int64_t count, int) { body(0, rows, first, count); });
  else
    parallel_chunks(context, rows, kTileRows,
                    [&](int64_t first, int64_t count, int) { body(first, count, 0, columns); });
}

}  // namespace duet::cpu
