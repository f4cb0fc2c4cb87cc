#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor activation(Tape& tape, const Tensor& x, duet_activation_kind kind) {
  duet_activation_inputs inputs = DUET_ACTIVATION_INPUTS_INIT;
  inputs.kind = kind;
  inputs.x = x.matrix();
  const Tensor outputs = tape.make(x.rows, x.columns);
  succeed(
      duet_activation_forward(tape.context(), &inputs, sized<duet_activation_outputs>({.outputs = outputs.matrix()})));
  return tape.record(outputs, {x}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_activation_backward(
        tape.context(), &inputs,
        sized<duet_activation_gradients>({.grad_outputs = output.grad_matrix(), .grad_x = x.grad_matrix()})));
  });
}

duet_dropout_options Dropout::options() const {
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
  options.drop_probability = drop_probability;
  options.layer = layer;
  options.seed = seed;
  options.step = step.vector();
  options.first_row = first_row;
  return options;
}

Tensor dropout(Tape& tape, const Tensor& x, const Dropout& dropout) {
  const duet_dropout_options options = dropout.options();
  const Tensor outputs = tape.make(x.rows, x.columns);
  succeed(duet_dropout_forward(tape.context(), sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &options}),
                               sized<duet_dropout_outputs>({.outputs = outputs.matrix()})));
  return tape.record(outputs, {x}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_dropout_backward(
        tape.context(), sized<duet_dropout_inputs>({.dropout = &options}),
        sized<duet_dropout_gradients>({.grad_outputs = output.grad_matrix(), .grad_x = x.grad_matrix()})));
  });
}

}  // namespace duet::ops
