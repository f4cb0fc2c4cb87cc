#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor distance(Tape& tape, const Tensor& x, const Tensor& y, duet_metric metric) {
  duet_distance_inputs inputs = DUET_DISTANCE_INPUTS_INIT;
  inputs.x = x.matrix();
  inputs.y = y.matrix();
  inputs.metric = metric;
  const Tensor distances = tape.make(x.rows, y.rows);
  succeed(duet_distance_forward(tape.context(), &inputs,
                                sized<duet_distance_outputs>({.distances = distances.matrix()}),
                                tape.workspace(duet_distance_workspace, inputs)));
  return tape.record(distances, {x, y}, [=](Tape& tape, const Tensor& output) {
    const bool reads_distances = inputs.metric == DUET_METRIC_EUCLIDEAN || inputs.metric == DUET_METRIC_COSINE;
    const duet_matrix forward = reads_distances ? output.matrix() : duet_matrix{};
    succeed(duet_distance_backward(tape.context(), &inputs,
                                   sized<duet_distance_gradients>({.distances = forward,
                                                                   .grad_distances = output.grad_matrix(),
                                                                   .grad_x = x.grad_matrix(),
                                                                   .grad_y = y.grad_matrix()}),
                                   tape.workspace(duet_distance_workspace, inputs)));
  });
}

}  // namespace duet::ops
