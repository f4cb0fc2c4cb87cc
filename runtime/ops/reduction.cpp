#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor weighted_mean(Tape& tape, const Tensor& values, const Tensor& weights, const Tensor& divisor) {
  const Tensor loss = tape.make(1);
  succeed(duet_weighted_mean_forward(tape.context(), values.vector(), weights.vector(), divisor.vector(), loss.vector()));
  return tape.record(loss, {values}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_weighted_mean_backward(tape.context(), weights.vector(), divisor.vector(), output.grad_vector(), values.grad_vector()));
  });
}

Tensor mean_of_directions(Tape& tape, const Tensor& terms, int64_t n, const Tensor& row_weight, const Tensor& column_weight) {
  const Tensor rows = weighted_mean(tape, terms.row_part(0, n), row_weight);
  const Tensor columns = weighted_mean(tape, terms.row_part(n, terms.rows - n), column_weight);
  const Tensor half = tape.constant(0.5f);
  return weighted_sum(tape, {{rows, half}, {columns, half}});
}

Tensor weighted_sum(Tape& tape, std::span<const Term> terms) {
  const auto count = static_cast<int64_t>(terms.size());
  auto* const values = tape.host_array<duet_vector>(count);
  auto* const weights = tape.host_array<duet_vector>(count);
  auto* const gradients = tape.host_array<duet_vector>(count);
  Tensor any;  // stands for the terms that require a gradient, if there are any
  for (int64_t k = 0; k < count; ++k) {
    const Term& term = terms[static_cast<size_t>(k)];
    values[k] = term.value.vector();
    weights[k] = term.weight.vector();
    gradients[k] = term.value.grad_vector();
    if (term.value.requires_grad()) any = term.value;
  }
  const Tensor total = tape.make(1);
  succeed(duet_weighted_sum_forward(tape.context(), values, weights, count, total.vector()));
  return tape.record(total, {any}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_weighted_sum_backward(tape.context(), weights, count, output.grad_vector(), gradients));
  });
}

}  // namespace duet::ops
