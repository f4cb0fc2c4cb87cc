#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor contrastive_terms(Tape& tape, const Tensor& a, const Tensor& v, const Tensor& scale, const Tensor& bias,
                         duet_contrastive_inputs options) {
  options.a = a.matrix();
  options.v = v.matrix();
  options.scale = scale.vector();
  options.bias = bias.vector();
  // Sigmoid has no column terms and no statistics: these stay null.
  const bool both = options.kind != DUET_CONTRASTIVE_KIND_SIGMOID;
  const int64_t n = a.rows, m = both ? v.rows : 0;
  const Tensor terms = tape.make(n + m);
  const auto statistics = [&](int64_t count) {
    return both ? tape.make(count, DUET_CONTRASTIVE_STATISTICS) : Tensor{};
  };
  const Tensor row_statistics = statistics(n), column_statistics = statistics(m);
  const auto columns = [=](const Tensor& all) { return both ? all.row_part(n, m) : Tensor{}; };
  succeed(duet_contrastive_forward(tape.context(), &options,
                                   sized<duet_contrastive_outputs>({.row_loss = terms.row_part(0, n).vector(),
                                                                    .column_loss = columns(terms).vector(),
                                                                    .row_statistics = row_statistics.matrix(),
                                                                    .column_statistics = column_statistics.matrix()}),
                                   tape.workspace(duet_contrastive_workspace, options)));
  return tape.record(terms, {a, v, scale, bias}, [=](Tape& tape, const Tensor& output) {
    succeed(
        duet_contrastive_backward(tape.context(), &options,
                                  sized<duet_contrastive_gradients>({.row_statistics = row_statistics.matrix(),
                                                                     .column_statistics = column_statistics.matrix(),
                                                                     .row_weight = output.row_part(0, n).grad_vector(),
                                                                     .column_weight = columns(output).grad_vector(),
                                                                     .grad_a = a.grad_matrix(),
                                                                     .grad_v = v.grad_matrix(),
                                                                     .grad_scale = scale.grad_vector(),
                                                                     .grad_bias = bias.grad_vector()}),
                                  tape.workspace(duet_contrastive_workspace, options)));
  });
}

}  // namespace duet::ops
