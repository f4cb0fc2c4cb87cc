// The vector loops of retrieval, compiled once a SIMD target.
#pragma once

#include <cstdint>

namespace duet::cpu {

inline constexpr int64_t kPadding = 32;  // rows of scores are padded by at least this, whole vectors on every target
inline constexpr float kLastScore = -4;  // stands for NaN: a cosine is never below -1 but for rounding, so this ranks last

// Makes scores numbers that compare as numbers do: NaN becomes kLastScore, -0 becomes 0. Works on whole vectors: up to kPadding - 1 elements
// past count are read and written alike here and in retrieval_bins.
void retrieval_clean(float* scores, int64_t count);

struct ScoreRange {
  float lowest, highest;
};
ScoreRange retrieval_range(const float* scores, int64_t count);  // count > 0

// How scores are cut into bins: one never falls as the score falls, it is 1 for score = top and 0 above, at most limit + 1.
struct ScoreBins {
  float top, scale, limit;
};
// bins[j] = the bin of score j, keys[j] = rank_key(scores[j], indices[j]).
void retrieval_bins(const float* scores, const int32_t* indices, int64_t count, const ScoreBins& cut, int32_t* bins, uint64_t* keys);

// Items among count that score below own_score, and that score the same.
struct BelowOwn {
  int64_t below = 0, tied = 0;
};
BelowOwn retrieval_below_own(const float* scores, int64_t count, float own_score);

// The number of scores above own's, or equal and of lower index.
int64_t retrieval_own_rank(const float* scores, const int32_t* indices, int64_t count, int64_t own);

}  // namespace duet::cpu
