// What each backend implements of cross-entropy, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {
namespace cpu {

void cross_entropy_forward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<float> row_loss);
void cross_entropy_backward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<const float> row_weight,
                            Matrix<float> grad_logits);

}  // namespace cpu

namespace cuda {

void cross_entropy_forward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<float> row_loss);
void cross_entropy_backward(const duet_context& context, Matrix<const float> logits, Matrix<const float> targets, Vector<const float> row_weight,
                            Matrix<float> grad_logits);

}  // namespace cuda
}  // namespace duet
