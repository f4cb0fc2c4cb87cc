#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {
namespace {

Tensor layer(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias, duet_linear_inputs inputs) {
  inputs.x = x.matrix();
  inputs.weight = weight.matrix();
  inputs.bias = bias.vector();
  const Tensor outputs = tape.make(x.rows, weight.rows);
  succeed(duet_linear_forward(tape.context(), &inputs, sized<duet_linear_outputs>({.outputs = outputs.matrix()}),
                              tape.workspace(duet_linear_workspace, inputs)));
  return tape.record(outputs, {x, weight, bias}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_linear_backward(tape.context(), &inputs,
                                 sized<duet_linear_gradients>({.outputs = output.matrix(),
                                                               .grad_outputs = output.grad_matrix(),
                                                               .grad_x = x.grad_matrix(),
                                                               .grad_weight = weight.grad_matrix(),
                                                               .grad_bias = bias.grad_vector()}),
                                 tape.workspace(duet_linear_workspace, inputs)));
  });
}

}  // namespace

Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return layer(tape, x, weight, bias, DUET_LINEAR_INPUTS_INIT);
}

Tensor linear_relu(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias, const Dropout& dropout) {
  duet_linear_inputs inputs = DUET_LINEAR_INPUTS_INIT;
  inputs.relu = 1;
  auto* const options = tape.host_array<duet_dropout_options>(1);
  *options = dropout.options();
  inputs.dropout = options;
  return layer(tape, x, weight, bias, inputs);
}

}  // namespace duet::ops
