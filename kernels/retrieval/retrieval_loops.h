// The vector loops of retrieval, compiled once a SIMD target.
#pragma once

#include <cstdint>

namespace duet::cpu {

inline constexpr int64_t kPadding = 32;  // rows of scores are padded to a multiple of this, whole vectors on every target
inline constexpr float kLastScore = -4;  // stands for NaN: a cosine is never below -1 but for rounding, so this ranks last

// Makes scores numbers that compare as numbers do: NaN becomes kLastScore, -0 becomes 0. count is a multiple of kPadding.
void retrieval_clean(float* scores, int64_t count);

// bins[j] = a bin in [0, limit + 1] that never falls as the score falls: 1 for score = top, 0 above. count is a multiple of kPadding.
void retrieval_bins(const float* scores, int64_t count, float top, float scale, float limit, int32_t* bins);

struct BelowOwn {
  int64_t others = 0;  // items with a label other than this one and not negative
  int64_t below = 0, tied = 0;
};
BelowOwn retrieval_below_own(const float* scores, const int32_t* labels, int64_t count, int32_t label, float own_score);

// The number of scores above own's, or equal and of lower index.
int64_t retrieval_own_rank(const float* scores, int64_t count, int64_t own);

}  // namespace duet::cpu
