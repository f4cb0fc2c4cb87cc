// What each backend implements of cross-entropy, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace duet {

// One of the logits of a call, with its own outputs. All logits of a call have the same target.
struct CrossEntropyForward {
  Matrix<const float> logits, targets;
  Vector<float> row_loss;
};
struct CrossEntropyBackward {
  Matrix<const float> logits, targets;
  Vector<const float> row_weight;
  Matrix<float> grad_logits;
};

namespace cpu {

void cross_entropy_forward(const duet_context& context, const CrossEntropyForward& part);
void cross_entropy_backward(const duet_context& context, const CrossEntropyBackward& part);

}  // namespace cpu

namespace cuda {

void cross_entropy_forward(const duet_context& context, const CrossEntropyForward* parts, int64_t count);
void cross_entropy_backward(const duet_context& context, const CrossEntropyBackward* parts, int64_t count);

}  // namespace cuda
}  // namespace duet
