// The sigmoid loss over one tile: x = scale * dots + bias against the weights W (METHOD.md 5).
#pragma once

#include "kernels/pairs/formula_tile_cpu.h"

namespace duet::cpu {

// row_sum_i = sum_j [W softplus(-x) + (1 - W) softplus(x)]
void sigmoid_sums(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, float* row_sum);

// gradient_ij = row_weight_i (sigmoid(x) - W); returns the sum over the tile, which is d loss/d bias.
double sigmoid_gradient(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                        const float* row_weight, Matrix<float> gradient);

// The same where pairs of the tile's relation that are positive have W = 1, whatever their weight, and those that are
// neither positive nor negative take no part: their loss and gradient are 0.
void related_sigmoid_sums(const PairTile& tile, float bias, Matrix<const float> weights, float* row_sum);
double related_sigmoid_gradient(const PairTile& tile, float bias, Matrix<const float> weights, const float* row_weight,
                                Matrix<float> gradient);

}  // namespace duet::cpu
