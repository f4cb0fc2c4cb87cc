// The ranks of a query's relevant items among all, without sorting all: only the R relevant scores are sorted, every
// other item is counted in the gap between two of them. Scores are cut into about 8 R bins over the range of the
// relevant ones, and a table says how many relevant items lie in the bins ahead of each; few bins hold more than two,
// so an item's gap is that number plus two comparisons, without a branch.
//
// Items of a crowded bin walk on from there. An item that ties with relevant ones is counted in the gap ahead of them,
// and once more as tied.
//
// An item costs two loads of a table and one addition to a count, about as much as the product of rows of 64 (AVX-512).
// A relevant item is counted into its bin and moved to its place, and neighbours within a bin are exchanged. No floats
// are summed, so the ranks are exact for the scores given. Both directions at once would share the product of a tile,
// but the counts of a column are needed until its last row: R counts a column, n m over the number of classes in all.
#pragma once

#include <bit>

#include "kernels/core/check.h"
#include "kernels/retrieval/retrieval_formula.h"
#include "kernels/retrieval/retrieval_loops.h"

namespace duet::cpu {

// Rises as the score falls, equal for equal scores. score is a number, and not -0.
inline uint32_t score_key(float score) {
  const auto bits = std::bit_cast<uint32_t>(score);
  return bits ^ (bits >> 31 ? 0u : 0x7FFFFFFFu);
}
inline float score_of_key(uint32_t key) { return std::bit_cast<float>(key ^ (key >> 31 ? 0u : 0x7FFFFFFFu)); }

// A query's relevant items, best first.
struct Ranks {
  int64_t size;
  const int32_t* ranks;  // from 0, behind the other items of equal score
  const int32_t* tied;   // of the first relevant item of each score: the other items of that score. Null where no
                         // relevant item ties with another one
  const float* scores;

  // The group of equal scores that relevant item r belongs to.
  TieGroup group(int64_t r) const;
};

class Ranker {
 public:
  Ranker(Workspace& workspace, int64_t gallery);

  // Ranks the items [first, last), at least one, among count. scores must have kPadding elements after the last. The
  // result points into scratch and is valid until the next call.
  Ranks ranks(const float* scores, int64_t count, int64_t first, int64_t last) const;

 private:
  float* scores_;             // of the relevant items, highest first
  int32_t *bins_, *numbers_;  // scratch of the sort
  int32_t* starts_;
  int32_t *counts_, *tied_;
};

}  // namespace duet::cpu
