// The ranks of a query's relevant items among all, without sorting all: only the R relevant keys are sorted, every other item is counted in
// the gap between two of them. Scores are cut into about 8 R bins over the range of the relevant ones, and a table says how many relevant
// items lie in the bins ahead of each; few bins hold more than two, so an item's gap is that number plus two comparisons, without a branch.
// Items of a crowded bin take a binary search. An item that ties with relevant ones is counted in the gap ahead of them, and once more as tied.
// m + R steps, and no sum of floats anywhere: the ranks are exact for the scores given.
#pragma once

#include "kernels/core/check.h"
#include "kernels/retrieval/retrieval_formula.h"
#include "kernels/retrieval/retrieval_loops.h"

namespace duet::cpu {

// Rises as the score falls, equal for equal scores. score is a number, and not -0.
inline uint32_t score_key(float score) {
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits ^ (bits >> 31 ? 0u : 0x7FFFFFFFu);
}

// A query's relevant items, best first.
struct Ranks {
  int64_t size;
  const int32_t* ranks;  // from 0, behind the other items of equal score
  const int32_t* tied;   // of the first relevant item of each score: the other items of that score. Null where no relevant item ties with another one
  const uint32_t* keys;  // equal for equal scores

  // The group of equal scores that relevant item r belongs to.
  TieGroup group(int64_t r) const;
};

class Ranker {
 public:
  Ranker(Workspace& workspace, int64_t gallery);

  // Of the items [first, last), not none, among count. scores go on for kPadding elements after the last. Points into scratch until the next call.
  Ranks ranks(const float* scores, int64_t count, int64_t first, int64_t last) const;

 private:
  void sort_members(const float* scores, int64_t size, const ScoreBins& cut, int64_t bins) const;
  int32_t search(uint32_t key, int32_t start, int32_t bin) const;
  void count_gaps(const float* scores, int64_t count, const ScoreBins& cut, int64_t members, bool& any_tied) const;

  uint32_t *sorted_, *keys_;  // of the relevant items; of the items at hand
  int32_t* bins_;             // of the items at hand
  int32_t *starts_, *places_;
  int32_t *counts_, *tied_;
};

}  // namespace duet::cpu
