// The ranks of a query's relevant items among all, without sorting all: only the R relevant keys are sorted, every other item is counted in
// the gap between two of them. Scores are cut into about 8 R bins over the range of the relevant ones, and a table says how many relevant
// items lie in the bins ahead of each; few bins hold more than two, so an item's gap is that number plus two comparisons, without a branch.
// Items of a crowded bin take a binary search. m + R steps, and no sum of floats anywhere: the ranks are exact for the scores given.
#pragma once

#include "kernels/core/check.h"
#include "kernels/retrieval/retrieval_loops.h"

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
  Ranker(Workspace& workspace, int64_t gallery);

  // ranks[0 .. last - first), ascending and from 0, of the items [first, last), not none, among the gallery's. indices: each item's place in
  // the order that breaks ties. scores and indices go on for kPadding elements after the gallery. Points into scratch until the next call.
  const int32_t* ranks(const float* scores, const int32_t* indices, int64_t first, int64_t last) const;

  // Scratch for whoever does not rank: as many keys as the gallery has rows.
  uint64_t* keys() const { return sorted_; }

 private:
  void sort_members(const float* scores, const int32_t* indices, int64_t size, const ScoreBins& cut, int64_t bins) const;
  int32_t search(uint64_t key, int32_t start, int32_t bin) const;
  void count_gaps(const float* scores, const int32_t* indices, int64_t count, const ScoreBins& cut) const;

  int64_t gallery_;
  uint64_t *sorted_, *keys_;  // of the relevant items; of the items at hand
  int32_t* bins_;             // of the items at hand
  int32_t *starts_, *places_;
  int32_t* counts_;
};

}  // namespace duet::cpu
