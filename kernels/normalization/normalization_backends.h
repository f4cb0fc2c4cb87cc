// What each backend implements of normalization, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {

struct LayerNormInputs {
  Matrix<const float> x;
  Vector<const float> gain, offset;  // each may be null
  float eps;
};

struct LayerNormGradients {
  Matrix<float> x;
  Vector<float> gain, offset;  // each of the three may be null
};

namespace cpu {

size_t normalization_workspace(Matrix<const float> x);
void unit_rows_forward(const duet_context& context, Matrix<const float> x, float eps, Matrix<float> outputs);
void unit_rows_backward(const duet_context& context, Matrix<const float> x, float eps, Matrix<const float> grad_outputs, Matrix<float> grad_x);
void layer_norm_forward(const duet_context& context, const LayerNormInputs& inputs, Matrix<float> outputs);
void layer_norm_backward(const duet_context& context, const LayerNormInputs& inputs, Matrix<const float> grad_outputs,
                         const LayerNormGradients& gradients, Workspace workspace);

}  // namespace cpu

namespace cuda {

size_t normalization_workspace(Matrix<const float> x);
void unit_rows_forward(const duet_context& context, Matrix<const float> x, float eps, Matrix<float> outputs);
void unit_rows_backward(const duet_context& context, Matrix<const float> x, float eps, Matrix<const float> grad_outputs, Matrix<float> grad_x);
void layer_norm_forward(const duet_context& context, const LayerNormInputs& inputs, Matrix<float> outputs);
void layer_norm_backward(const duet_context& context, const LayerNormInputs& inputs, Matrix<const float> grad_outputs,
                         const LayerNormGradients& gradients, Workspace workspace);

}  // namespace cuda
}  // namespace duet
