#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor decorrelation(Tape& tape, const Tensor& a, const Tensor& v, float eps) {
  duet_decorrelation_inputs inputs = DUET_DECORRELATION_INPUTS_INIT;
  inputs.a = a.matrix();
  inputs.v = v.matrix();
  inputs.eps = eps;
  const Tensor loss = tape.make(1);
  succeed(duet_decorrelation_forward(tape.context(), &inputs,
                                     sized<duet_decorrelation_outputs>({.loss = loss.vector()}),
                                     tape.workspace(duet_decorrelation_workspace, inputs)));
  return tape.record(loss, {a, v}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_decorrelation_backward(
        tape.context(), &inputs,
        sized<duet_decorrelation_gradients>(
            {.grad_loss = output.grad_vector(), .grad_a = a.grad_matrix(), .grad_v = v.grad_matrix()}),
        tape.workspace(duet_decorrelation_workspace, inputs)));
  });
}

}  // namespace duet::ops
