// Sorts a row of distances with their columns, several times faster than by comparisons.
//
// Keys are dealt into about twice as many bins as there are keys, of equal width over the row's range, so that most
// bins hold one key or none; exchanges of neighbours and one pass of insertion put right what shares a bin. Rows that
// crowd into few bins (an outlier stretches the range) are left to VQSort. Who needs no more than the keys near some
// distances searches the bins and leaves them as they were dealt.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/check.h"

namespace duet::cpu {

// A distance and its column as one integer, in order of (distance, column). Distances are never negative; NaN sorts
// last.
inline uint64_t sort_key(float distance, int64_t column) {
  return static_cast<uint64_t>(std::bit_cast<uint32_t>(distance) & 0x7FFFFFFFu) << 32 | static_cast<uint32_t>(column);
}
inline constexpr uint64_t kNoKey = 0x7FFFFFFFFFFFFFFF;  // behind every other; its distance is NaN
inline float key_distance(uint64_t key) { return std::bit_cast<float>(static_cast<uint32_t>(key >> 32)); }
inline int64_t key_column(uint64_t key) { return static_cast<int64_t>(key & 0xFFFFFFFFu); }

// Keys in order of their bins, in no order within one.
struct DealtKeys {
  const uint64_t* keys;
  int64_t count;
  float low, high;  // of their distances
  float scale;
  const int32_t* ends;  // of each bin: where the next one's keys begin

  // low <= distance <= high; rises with it.
  int64_t bin_of(float distance) const { return static_cast<int32_t>((distance - low) * scale); }
};

class RowSorter {
 public:
  // What is written whole vectors at a time has so much room behind its last element.
  static constexpr int64_t kPadding = 16;

  RowSorter() = default;
  RowSorter(Workspace& workspace, int64_t size);

  // sorted[0 .. count) = the keys of distances[k] and columns[k], ascending; columns null: k itself. No distance is
  // NaN.
  void sort(const float* distances, const int32_t* columns, int64_t count, uint64_t* sorted) const;

  // keys[0 .. count) in order of their bins, behind them kPadding times kNoKey. False, and keys mean nothing, where
  // bins tell nothing: the range of the distances is empty or infinite. count is at least 1, no distance is NaN.
  bool deal(const float* distances, const int32_t* columns, int64_t count, uint64_t* keys, DealtKeys* dealt) const;

 private:
  bool deal_into(int64_t bins, const float* distances, const int32_t* columns, int64_t count, uint64_t* keys,
                 DealtKeys* dealt) const;

  int32_t* bins_ = nullptr;    // of each key
  int32_t* places_ = nullptr;  // of each bin: where its next key goes
};

// The smallest key of a distance beyond d, which is less than dealt.high. steps: how many keys were looked at is taken
// off.
uint64_t nearest_beyond(const DealtKeys& dealt, float d, int64_t& steps);

}  // namespace duet::cpu
