#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor cross_entropy_terms(Tape& tape, const Tensor& logits, const Tensor& targets) {
  const Tensor terms = tape.make(logits.rows);
  succeed(duet_cross_entropy_forward(tape.context(), logits.matrix(), targets.matrix(), terms.vector()));
  return tape.record(terms, {logits}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_cross_entropy_backward(tape.context(), logits.matrix(), targets.matrix(), output.grad_vector(), logits.grad_matrix()));
  });
}

Tensor cross_entropy(Tape& tape, const Tensor& logits, const Tensor& targets, const Tensor& weights, const Tensor& divisor) {
  return weighted_mean(tape, cross_entropy_terms(tape, logits, targets), weights, divisor);
}

}  // namespace duet::ops
