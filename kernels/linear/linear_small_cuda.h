// The layer of a small batch on CUDA: one launch a pass.
#pragma once

#include "kernels/linear/linear_backends.h"

namespace duet::cuda {

// Whether a layer uses these forms: a small batch, at most 2^27 multiply-adds a product and widths of at most 4096.
// Past that cuBLASLt's products save more than their further launches cost; PLAN.md has the figures.
bool fits_small(const duet_context& context, const LinearInputs& inputs);

// fits_small must hold, and neither batch nor outputs may be empty. No workspace.
void small_linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs);
void small_linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> outputs,
                           Matrix<const float> grad_outputs, const LinearGradients& gradients);

}  // namespace duet::cuda
