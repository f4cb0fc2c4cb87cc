// Exponentials of one tile of scores, scale * dots: forward sums them along rows and columns, and backward forms
// gradients from them.
//
// One exponential serves a row and a column where one shift does: where the largest score of every row and of every
// column of the tile lies within 60 of the tile's own, nothing that counts can underflow (e^-87 is still a normal
// number). A tile with a wider range, which needs a temperature near 1e-3 or rows of very different norms, is processed
// in two passes: each row, then each column, with a shift of its own.
//
// Where rows are so short that no score exceeds kBoundedScore, every shift is 0. A bound by the norms shows this before
// the sweep. It saves the pass for the maxima and allows a shorter exponential.
//
// Tiles and everything indexed by a tile's columns have room for padded(columns) elements, so only sums along a row
// need a mask.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/constants.h"
#include "kernels/cpu/parallel.h"

namespace duet::cpu {

inline constexpr int64_t kLanePadding = 16;
constexpr int64_t padded(int64_t columns) { return ceil_div(columns, kLanePadding) * kLanePadding; }

// A little over the largest Euclidean norm of a row, and at least 1e-15; NaN where one is.
float norm_bound(const duet_context& context, Matrix<const float> rows);

// sum = sum of e^{score - scale shift} along a row or a column of the tile, the shift being a dot; cross, where asked
// for, see exp_cross_sums.
struct ExpSums {
  float* shift;
  float* sum;
  float* cross = nullptr;
};

// Writes both sums with every shift 0; no score is beyond kBoundedScore or NaN.
void bounded_exp_sums(Matrix<const float> dots, float scale, ExpSums rows, ExpSums columns);
// The same for the cross sums, their centre 0.
void bounded_exp_cross_sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale,
                            ExpSums rows, ExpSums columns);

// Chooses the shifts and writes both sums. Returns the tile's largest score where one shift serves all of it, else, and
// where that is not finite, 0.
float exp_sums(Matrix<const float> dots, float scale, ExpSums rows, ExpSums columns);

// The same, and cross = sum of e^{score - scale shift} ((score - scale shift) - (other score - centre)).
void exp_cross_sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale, float centre,
                    ExpSums rows, ExpSums columns);

// weight * e^{score - log_sum}, one direction's part of a gradient; weight null: no such part. Where a weight is 0,
// log_sum may be anything; where log_sum is infinite or NaN, the weight is 0 or NaN.
struct SoftmaxWeights {
  const float* log_sum;
  const float* weight;
};

enum class Accumulate { no, yes };

// gradient_ij (+)= row weight_i e^{score_ij - row log_sum_i} + column weight_j e^{score_ij - column log_sum_j}.
// factors: scratch for rows + padded(columns) numbers.
void softmax_gradient(Matrix<const float> dots, float scale, SoftmaxWeights rows, SoftmaxWeights columns,
                      Accumulate accumulate, float* factors, Matrix<float> gradient);

// gradient is d loss/d score: returns sum_ij gradient_ij dots_ij = d loss/d scale, then turns gradient into d loss/d
// dots by scaling it.
double scale_gradient(Matrix<const float> dots, float scale, Matrix<float> gradient);

}  // namespace duet::cpu
