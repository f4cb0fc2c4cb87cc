#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor weighted_mean(Tape& tape, const Tensor& values, const Tensor& weights, const Tensor& divisor) {
  const Tensor loss = tape.make(1);
  succeed(duet_weighted_mean_forward(
      tape.context(),
      sized<duet_weighted_mean_inputs>(
          {.values = values.vector(), .weights = weights.vector(), .divisor = divisor.vector()}),
      sized<duet_weighted_mean_outputs>({.loss = loss.vector()})));
  return tape.record(loss, {values}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_weighted_mean_backward(
        tape.context(), sized<duet_weighted_mean_inputs>({.weights = weights.vector(), .divisor = divisor.vector()}),
        sized<duet_weighted_mean_gradients>({.grad_loss = output.grad_vector(), .grad_values = values.grad_vector()})));
  });
}

LossTerms loss_terms(Tape& tape, std::span<const LossTerm> terms) {
  const auto count = std::ssize(terms);
  auto* const kinds = tape.host_array<duet_term>(count);
  auto* const means = tape.host_array<duet_mean>(2 * count);
  auto* const gradients = tape.host_array<duet_vector>(2 * count);
  int64_t mean_count = 0;
  Tensor any;  // stands for the values that require a gradient, if there are any
  const auto add = [&](const Mean& mean) {
    means[mean_count] = {mean.values.vector(), mean.weights.vector(), mean.divisor.vector()};
    gradients[mean_count++] = mean.values.grad_vector();
    if (mean.values.requires_grad()) any = mean.values;
  };
  for (int64_t k = 0; k < count; ++k) {
    const LossTerm& term = terms[static_cast<size_t>(k)];
    const bool two = static_cast<bool>(term.second.values);
    kinds[k] = {term.weight.vector(), two ? 2 : 1};
    add(term.first);
    if (two) add(term.second);
  }
  duet_terms_inputs inputs = DUET_TERMS_INPUTS_INIT;
  inputs.terms = kinds, inputs.term_count = count;
  inputs.means = means, inputs.mean_count = mean_count;
  const Tensor values = tape.make(count), total = tape.make(1);
  succeed(duet_terms_forward(tape.context(), &inputs,
                             sized<duet_terms_outputs>({.losses = values.vector(), .total = total.vector()})));
  return {tape.record(total, {any},
                      [=](Tape& tape, const Tensor& output) {
                        succeed(duet_terms_backward(tape.context(), &inputs,
                                                    sized<duet_terms_gradients>({.grad_total = output.grad_vector(),
                                                                                 .grad_values = gradients})));
                      }),
          values};
}

LossTerm both_directions(const Tensor& weight, const Tensor& terms, int64_t n, const Tensor& row_weight,
                         const Tensor& column_weight) {
  return {weight, {terms.row_part(0, n), row_weight, {}}, {terms.row_part(n, terms.rows - n), column_weight, {}}};
}

}  // namespace duet::ops
