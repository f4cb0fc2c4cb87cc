// The sigmoid loss over one tile: x = scale * dots + bias against the weights W (METHOD.md 5).
#pragma once

#include "kernels/core/check.h"

namespace duet::cpu {

// row_sum_i = sum_j [W softplus(-x) + (1 - W) softplus(x)]
void sigmoid_sums(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, float* row_sum);

// gradient_ij = row_weight_i (sigmoid(x) - W); returns the sum over the tile, which is d loss/d bias.
double sigmoid_gradient(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                        const float* row_weight, Matrix<float> gradient);

}  // namespace duet::cpu
