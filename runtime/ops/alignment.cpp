#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {
namespace {

duet_alignment_inputs inputs_of(const Tensor& a, const Tensor& v, const Tensor& scale, duet_metric score,
                                const OwnPairs& own) {
  duet_alignment_inputs inputs = DUET_ALIGNMENT_INPUTS_INIT;
  inputs.score = score;
  inputs.a = a.matrix();
  inputs.v = v.matrix();
  inputs.scale = scale.vector();
  inputs.exclude_own = own.exclude;
  inputs.first_row = own.first_row;
  inputs.first_column = own.first_column;
  return inputs;
}

}  // namespace

Tensor alignment_lse(Tape& tape, const Tensor& a, const Tensor& v, const Tensor& scale, duet_metric score,
                     const OwnPairs& own) {
  const duet_alignment_inputs inputs = inputs_of(a, v, scale, score, own);
  const int64_t n = a.rows, m = v.rows;
  const Tensor lse = tape.make(n + m);
  succeed(duet_alignment_forward(tape.context(), &inputs,
                                 sized<duet_alignment_outputs>({.lse_row = lse.row_part(0, n).vector(),
                                                                .lse_column = lse.row_part(n, m).vector()}),
                                 tape.workspace(duet_alignment_workspace, inputs)));
  return tape.record(lse, {a, v, scale}, [=](Tape& tape, const Tensor& output) {
    const Tensor rows = output.row_part(0, n), columns = output.row_part(n, m);
    succeed(duet_alignment_backward(tape.context(), &inputs,
                                    sized<duet_alignment_gradients>({.lse_row = rows.vector(),
                                                                     .lse_column = columns.vector(),
                                                                     .grad_lse_row = rows.grad_vector(),
                                                                     .grad_lse_column = columns.grad_vector(),
                                                                     .grad_a = a.grad_matrix(),
                                                                     .grad_v = v.grad_matrix(),
                                                                     .grad_scale = scale.grad_vector()}),
                                    tape.workspace(duet_alignment_workspace, inputs)));
  });
}

Tensor alignment_probabilities(Tape& tape, const Tensor& a, const Tensor& v, const Tensor& scale, duet_metric score,
                               const OwnPairs& own) {
  const duet_alignment_inputs inputs = inputs_of(a, v, scale, score, own);
  const Tensor lse_row = tape.make(a.rows), probabilities = tape.make(a.rows, v.rows);
  const duet_workspace workspace = tape.workspace(duet_alignment_workspace, inputs);
  succeed(duet_alignment_forward(tape.context(), &inputs, sized<duet_alignment_outputs>({.lse_row = lse_row.vector()}),
                                 workspace));
  succeed(duet_alignment_probabilities(tape.context(), &inputs,
                                       sized<duet_alignment_probabilities_outputs>(
                                           {.lse_row = lse_row.vector(), .probabilities = probabilities.matrix()}),
                                       workspace));
  return tape.record(probabilities, {a, v, scale}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_alignment_probabilities_backward(
        tape.context(), &inputs,
        sized<duet_alignment_probabilities_gradients>({.probabilities = output.matrix(),
                                                       .grad_probabilities = output.grad_matrix(),
                                                       .grad_a = a.grad_matrix(),
                                                       .grad_v = v.grad_matrix(),
                                                       .grad_scale = scale.grad_vector()}),
        tape.workspace(duet_alignment_workspace, inputs)));
  });
}

}  // namespace duet::ops
