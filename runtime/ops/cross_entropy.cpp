#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor cross_entropy_terms(Tape& tape, const Tensor& logits, const Tensor& targets) {
  const Tensor terms = tape.make(logits.rows);
  succeed(duet_cross_entropy_forward(
      tape.context(), sized<duet_cross_entropy_inputs>({.logits = logits.matrix(), .targets = targets.matrix()}),
      sized<duet_cross_entropy_outputs>({.row_loss = terms.vector()})));
  return tape.record(terms, {logits}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_cross_entropy_backward(
        tape.context(), sized<duet_cross_entropy_inputs>({.logits = logits.matrix(), .targets = targets.matrix()}),
        sized<duet_cross_entropy_gradients>(
            {.row_weight = output.grad_vector(), .grad_logits = logits.grad_matrix()})));
  });
}

Tensor cross_entropy_terms(Tape& tape, std::initializer_list<Tensor> logits, const Tensor& targets) {
  const auto count = static_cast<int64_t>(logits.size());
  const int64_t rows = targets.rows;
  const Tensor terms = tape.make(count * rows);
  auto* const views = tape.host_array<duet_const_matrix>(count);
  auto* const parts = tape.host_array<duet_vector>(count);
  // Of the logits that require a gradient, their numbers and what backward takes.
  auto* const numbers = tape.host_array<int64_t>(count);
  auto* const learned = tape.host_array<duet_const_matrix>(count);
  auto* const gradients = tape.host_array<duet_matrix>(count);
  auto* const upstream = tape.host_array<duet_const_vector>(count);
  int64_t k = 0, learned_count = 0;
  Tensor any;  // stands for them
  for (const Tensor& each : logits) {
    views[k] = each.matrix();
    parts[k] = terms.row_part(k * rows, rows).vector();
    if (each.requires_grad()) {
      numbers[learned_count] = k;
      learned[learned_count] = each.matrix();
      gradients[learned_count++] = each.grad_matrix();
      any = each;
    }
    ++k;
  }
  succeed(duet_cross_entropy_forward_all(
      tape.context(),
      sized<duet_cross_entropy_all_inputs>({.logits = views, .count = count, .targets = targets.matrix()}),
      sized<duet_cross_entropy_all_outputs>({.row_loss = parts})));
  return tape.record(terms, {any}, [=](Tape& tape, const Tensor& output) {
    for (int64_t i = 0; i < learned_count; ++i) upstream[i] = output.row_part(numbers[i] * rows, rows).grad_vector();
    succeed(duet_cross_entropy_backward_all(
        tape.context(),
        sized<duet_cross_entropy_all_inputs>({.logits = learned, .count = learned_count, .targets = targets.matrix()}),
        sized<duet_cross_entropy_all_gradients>({.row_weight = upstream, .grad_logits = gradients})));
  });
}

}  // namespace duet::ops
