// Sorts a row of distances with their columns, several times faster than by comparisons.
//
// Keys are dealt into about twice as many bins as there are keys, of equal width over the row's range, so that most bins hold one key or none;
// exchanges of neighbours and one pass of insertion put right what shares a bin. Rows that crowd into few bins (an outlier stretches the range) are
// left to VQSort.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/check.h"

namespace duet::cpu {

// A distance and its column as one integer, in order of (distance, column). Distances are never negative; NaN sorts last.
inline uint64_t sort_key(float distance, int64_t column) {
  return static_cast<uint64_t>(std::bit_cast<uint32_t>(distance) & 0x7FFFFFFFu) << 32 | static_cast<uint32_t>(column);
}
inline float key_distance(uint64_t key) { return std::bit_cast<float>(static_cast<uint32_t>(key >> 32)); }
inline int64_t key_column(uint64_t key) { return static_cast<int64_t>(key & 0xFFFFFFFFu); }

class RowSorter {
 public:
  RowSorter() = default;
  RowSorter(Workspace& workspace, int64_t size);

  // sorted[0 .. count) = the keys of distances[k] and columns[k], ascending; columns null: k itself. No distance is NaN.
  void sort(const float* distances, const int32_t* columns, int64_t count, uint64_t* sorted) const;

 private:
  int32_t* bins_ = nullptr;    // of each key
  int32_t* places_ = nullptr;  // of each bin: where its next key goes
};

}  // namespace duet::cpu
