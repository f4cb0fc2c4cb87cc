#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor gather(Tape& tape, const Tensor& source, Indices indices) {
  const Tensor rows = tape.make(indices.size, source.columns);
  succeed(duet_gather_forward(tape.context(),
                              sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                              sized<duet_gather_outputs>({.rows = rows.matrix()})));
  return tape.record(rows, {source}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_gather_backward(
        tape.context(), sized<duet_gather_inputs>({.indices = indices.vector()}),
        sized<duet_gather_gradients>({.grad_rows = output.grad_matrix(), .grad_source = source.grad_matrix()})));
  });
}

std::array<Tensor, 2> gather_batch(Tape& tape, const std::array<Tensor, 2>& sources, Indices indices, Labels labels,
                                   int32_t* to) {
  const std::array<duet_const_matrix, 2> from = {sources[0].matrix(), sources[1].matrix()};
  const std::array<Tensor, 2> rows = {tape.make(indices.size, sources[0].columns),
                                      tape.make(indices.size, sources[1].columns)};
  const std::array<duet_matrix, 2> views = {rows[0].matrix(), rows[1].matrix()};
  duet_gather_batch_inputs inputs = DUET_GATHER_BATCH_INPUTS_INIT;
  inputs.sources = from.data(), inputs.source_count = std::ssize(from);
  if (labels.data) inputs.labels = labels.vector();
  inputs.indices = indices.vector();
  succeed(
      duet_gather_batch(tape.context(), &inputs,
                        sized<duet_gather_batch_outputs>(
                            {.rows = views.data(), .labels = to ? duet_i32_vector(to, indices.size) : duet_vector{}})));
  return rows;
}

}  // namespace duet::ops
