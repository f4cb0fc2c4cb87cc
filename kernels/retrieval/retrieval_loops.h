// The vector loops of retrieval, compiled once a SIMD target.
//
// Scores come from a product of our own, not from BLAS: rows that are equal must score equally wherever they stand, or ties would not go to
// the lower index, and OpenBLAS's Haswell and Zen kernels give an edge column other bits than an inner one. Here every score is one chain of
// multiply-adds over k in order, in whatever lane it falls.
#pragma once

#include <cstdint>

namespace duet::cpu {

inline constexpr int64_t kPanel = 32;      // gallery rows side by side in a panel: two AVX-512 vectors
inline constexpr int64_t kQueryGroup = 8;  // queries interleaved in a group
inline constexpr float kLastScore = -4;    // stands for NaN: a cosine is never below -1 but for rounding, so this ranks last

// scores[r * stride + c] = sum_k group[k][r] panel[k][c] for 8 queries (group d x 8) and 32 gallery rows (panel d x 32).
// NaN becomes kLastScore, -0 becomes 0, so that from here on scores compare as numbers do.
void retrieval_scores(const float* group, const float* panel, int64_t d, float* scores, int64_t stride);

// bins[j] = a bin in [0, limit + 1] that never falls as the score falls: 1 for score = top, 0 above. count is a multiple of kPanel.
void retrieval_bins(const float* scores, int64_t count, float top, float scale, float limit, int32_t* bins);

struct BelowOwn {
  int64_t others = 0;  // items with a label other than this one and not negative
  int64_t below = 0, tied = 0;
};
BelowOwn retrieval_below_own(const float* scores, const int32_t* labels, int64_t count, int32_t label, float own_score);

// The number of scores above own's, or equal and of lower index.
int64_t retrieval_own_rank(const float* scores, int64_t count, int64_t own);

}  // namespace duet::cpu
