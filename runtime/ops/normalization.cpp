#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor unit_rows(Tape& tape, const Tensor& x, float eps) {
  const Tensor outputs = tape.make(x.rows, x.columns);
  succeed(duet_unit_rows_forward(tape.context(), sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                                 sized<duet_unit_rows_outputs>({.outputs = outputs.matrix()})));
  return tape.record(outputs, {x}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_unit_rows_backward(
        tape.context(), sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
        sized<duet_unit_rows_gradients>({.grad_outputs = output.grad_matrix(), .grad_x = x.grad_matrix()})));
  });
}

namespace {

Tensor normalized(Tape& tape, const Tensor& x, const Tensor& gain, const Tensor& offset,
                  duet_layer_norm_inputs inputs) {
  inputs.x = x.matrix();
  inputs.gain = gain.vector();
  inputs.offset = offset.vector();
  const Tensor outputs = tape.make(x.rows, x.columns);
  succeed(
      duet_layer_norm_forward(tape.context(), &inputs, sized<duet_layer_norm_outputs>({.outputs = outputs.matrix()})));
  return tape.record(outputs, {x, gain, offset}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_layer_norm_backward(tape.context(), &inputs,
                                     sized<duet_layer_norm_gradients>({.grad_outputs = output.grad_matrix(),
                                                                       .grad_x = x.grad_matrix(),
                                                                       .grad_gain = gain.grad_vector(),
                                                                       .grad_offset = offset.grad_vector()}),
                                     tape.workspace(duet_layer_norm_workspace, inputs)));
  });
}

}  // namespace

Tensor layer_norm(Tape& tape, const Tensor& x, const Tensor& gain, const Tensor& offset, float eps) {
  duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
  inputs.eps = eps;
  return normalized(tape, x, gain, offset, inputs);
}

Tensor layer_norm(Tape& tape, const Tensor& x, const Tensor& gain, const Tensor& offset,
                  duet_activation_kind activation, const Dropout& dropout) {
  duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
  inputs.fuses = 1;
  inputs.activation = activation;
  auto* const options = tape.host_array<duet_dropout_options>(1);
  *options = dropout.options();
  inputs.dropout = options;
  return normalized(tape, x, gain, offset, inputs);
}

}  // namespace duet::ops
