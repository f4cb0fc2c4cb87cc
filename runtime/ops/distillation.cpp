#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor distillation_terms(Tape& tape, const Tensor& student_a, const Tensor& student_v, const Tensor& scale,
                          duet_distillation_inputs options) {
  options.student_a = student_a.matrix();
  options.student_v = student_v.matrix();
  options.scale = scale.vector();
  const int64_t n = student_a.rows, m = student_v.rows;
  const Tensor terms = tape.make(n + m);
  const Tensor row_statistics = tape.make(n, DUET_DISTILLATION_STATISTICS),
               column_statistics = tape.make(m, DUET_DISTILLATION_STATISTICS);
  succeed(duet_distillation_forward(tape.context(), &options,
                                    sized<duet_distillation_outputs>({.row_loss = terms.row_part(0, n).vector(),
                                                                      .column_loss = terms.row_part(n, m).vector(),
                                                                      .row_statistics = row_statistics.matrix(),
                                                                      .column_statistics = column_statistics.matrix()}),
                                    tape.workspace(duet_distillation_workspace, options)));
  return tape.record(terms, {student_a, student_v, scale}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_distillation_backward(
        tape.context(), &options,
        sized<duet_distillation_gradients>({.row_statistics = row_statistics.matrix(),
                                            .column_statistics = column_statistics.matrix(),
                                            .row_weight = output.row_part(0, n).grad_vector(),
                                            .column_weight = output.row_part(n, m).grad_vector(),
                                            .grad_a = student_a.grad_matrix(),
                                            .grad_v = student_v.grad_matrix(),
                                            .grad_scale = scale.grad_vector()}),
        tape.workspace(duet_distillation_workspace, options)));
  });
}

}  // namespace duet::ops
