#include "kernels/core/error.h"
#include "runtime/memory.h"
#include "runtime/ops.h"

namespace duet::ops {
namespace {

// Where the results of several modalities lie in one tensor, which is what a tape records: unit rows and logits of one
// after the other, each from a line of memory on.
struct Layout {
  int64_t rows, columns, classes;

  static int64_t padded(int64_t size) {
    constexpr auto kLine = static_cast<int64_t>(kAlignment / sizeof(float));
    return (size + kLine - 1) / kLine * kLine;
  }
  int64_t of_one() const { return padded(rows * columns) + padded(rows * classes); }
  Head at(const Tensor& all, int64_t k) const {
    const int64_t first = k * of_one();
    return {all.row_part(first, rows * columns).reshaped(rows, columns),
            all.row_part(first + padded(rows * columns), rows * classes).reshaped(rows, classes)};
  }
};

}  // namespace

std::span<const Head> head(Tape& tape, std::initializer_list<Tensor> x, const Tensor& weight, const Tensor& bias,
                           float output_scale) {
  const auto count = static_cast<int64_t>(x.size());
  require(count > 0, "head: expected a modality, got none");
  const Layout layout{x.begin()->rows, weight.columns, weight.rows};
  auto* const made = tape.host_array<Head>(count);
  auto* const from = tape.host_array<Tensor>(count);
  auto* const x_views = tape.host_array<duet_const_matrix>(count);
  auto* const u = tape.host_array<duet_matrix>(count);
  auto* const logits = tape.host_array<duet_matrix>(count);
  // What backward takes.
  auto* const given_u = tape.host_array<duet_const_matrix>(count);
  auto* const grad_u = tape.host_array<duet_const_matrix>(count);
  auto* const grad_logits = tape.host_array<duet_const_matrix>(count);
  auto* const grad_x = tape.host_array<duet_matrix>(count);
  const Tensor all = tape.make(count * layout.of_one());
  Tensor any;  // that requires a gradient
  for (int64_t k = 0; k < count; ++k) {
    from[k] = x.begin()[k];
    if (from[k].requires_grad()) any = from[k];
    x_views[k] = from[k].matrix();
    const Head part = layout.at(all, k);
    u[k] = part.embeddings.matrix(), logits[k] = part.logits.matrix();
  }
  duet_head_inputs inputs = DUET_HEAD_INPUTS_INIT;
  inputs.x = x_views;
  inputs.count = count;
  inputs.weight = weight.matrix();
  inputs.bias = bias.vector();
  inputs.output_scale = output_scale;
  succeed(duet_head_forward(tape.context(), &inputs, sized<duet_head_outputs>({.u = u, .logits = logits}),
                            tape.workspace(duet_head_workspace, inputs)));
  const Tensor recorded = tape.record(all, {any, weight, bias}, [=](Tape& tape, const Tensor& output) {
    for (int64_t k = 0; k < count; ++k) {
      const Head part = layout.at(output, k);
      given_u[k] = part.embeddings.matrix();
      grad_u[k] = part.embeddings.grad_matrix(), grad_logits[k] = part.logits.grad_matrix();
      grad_x[k] = from[k].grad_matrix();
    }
    succeed(duet_head_backward(tape.context(), &inputs,
                               sized<duet_head_gradients>({.u = given_u,
                                                           .grad_u = grad_u,
                                                           .grad_logits = grad_logits,
                                                           .grad_x = grad_x,
                                                           .grad_weight = weight.grad_matrix(),
                                                           .grad_bias = bias.grad_vector()}),
                               tape.workspace(duet_head_workspace, inputs)));
  });
  for (int64_t k = 0; k < count; ++k) made[k] = layout.at(recorded, k);
  return {made, static_cast<size_t>(count)};
}

}  // namespace duet::ops
