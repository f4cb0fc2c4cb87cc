// The ranks of a query's relevant items among all, without sorting all: only the R relevant scores are sorted, every other item is counted
// between them. Scores are cut into about 4 R bins over the range of the relevant ones; an item in a bin without a relevant one is a count
// of that bin, the rest (a quarter or so) are placed exactly among the few relevant ones of their bin. m + R log R steps, and no sum of
// floats anywhere: the ranks are exact for the scores given.
#pragma once

#include "kernels/core/check.h"

namespace duet::cpu {

// Ascending keys are ranks: higher score first, then lower index. score is a number, and not -0.
inline uint64_t rank_key(float score, int64_t index) {
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  const uint32_t rising = bits ^ (bits >> 31 ? 0xFFFFFFFFu : 0x80000000u);  // rises as the score does
  return uint64_t{~rising} << 32 | static_cast<uint32_t>(index);
}

class Ranker {
 public:
  static constexpr int64_t kMostBins = 16384;  // histogram and starts, 64 KiB each, stay in L2

  Ranker(Workspace& workspace, int64_t gallery, int64_t padded_gallery);

  // ranks[0 .. size), ascending and from 0, of the gallery rows members (size of them, ascending) by scores (of gallery rows, then padding).
  // Points into scratch until the next call.
  const int32_t* ranks(const float* scores, const int32_t* members, int64_t size) const;

  // Scratch for whoever does not rank: as many keys as the gallery has rows.
  uint64_t* keys() const { return sorted_; }

 private:
  void sort_members(const float* scores, const int32_t* members, int64_t size, int64_t bin_count) const;

  int64_t gallery_, padded_;
  uint64_t* sorted_;           // keys of the relevant items
  float* member_scores_;       // gathered
  int32_t *bins_, *open_;      // of every item; items that share a bin with a relevant one
  int32_t *counts_, *starts_;  // items between relevant ones; first relevant item of each bin
  int32_t* histogram_;
  uint8_t* occupied_;  // bins that hold a relevant item
};

}  // namespace duet::cpu
