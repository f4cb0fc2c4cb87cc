// The vector loops of retrieval, compiled once a SIMD target.
#pragma once

#include <cstdint>

namespace duet::cpu {

inline constexpr int64_t kPadding = 32;  // rows of scores are padded by at least this, whole vectors on every target
inline constexpr float kLastScore = -4;  // stands for NaN: below every cosine, so it ranks last

// Makes scores cosines that compare as numbers do: cosine_score(), and kLastScore for NaN. Works on whole vectors: up to kPadding - 1 elements past
// count are read and written alike here and in retrieval_bins.
void retrieval_clean(float* scores, int64_t count);

struct ScoreRange {
  float lowest, highest;
};
ScoreRange retrieval_range(const float* scores, int64_t count);  // count > 0

// How scores are cut into bins: one never falls as the score falls, it is 1 for score = top and 0 above, at most limit + 1.
struct ScoreBins {
  float top, scale, limit;
};
// bins[j] = the bin of score j, keys[j] = score_key(scores[j]).
void retrieval_bins(const float* scores, int64_t count, const ScoreBins& cut, int32_t* bins, uint32_t* keys);

// Items among count that score below a score, and that score the same.
struct Below {
  int64_t below = 0, tied = 0;

  Below& operator+=(const Below& other) {
    below += other.below;
    tied += other.tied;
    return *this;
  }
};
Below retrieval_below(const float* scores, int64_t count, float score);

}  // namespace duet::cpu
