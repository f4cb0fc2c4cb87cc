// The layer of a small batch on CUDA: one launch a pass.
#pragma once

#include "kernels/linear/linear_backends.h"

namespace duet::cuda {

// Which layers take these forms: small batches of up to 2^27 multiply-adds a product, 9 us where these kernels do 15
// T/s. What cuBLASLt's products would save of that, some 4 us in fp32, the two launches beside them cost. A block sums
// its whole depth: 4096 terms are 9 us.
bool fits_small(const duet_context& context, const LinearInputs& inputs);

// On arguments of which fits_small holds, neither batch nor outputs empty. No workspace.
void small_linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs);
void small_linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> outputs,
                           Matrix<const float> grad_outputs, const LinearGradients& gradients);

}  // namespace duet::cuda
