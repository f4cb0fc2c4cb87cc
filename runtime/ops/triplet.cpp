#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor triplet(Tape& tape, const Tensor& x, const Tensor& y, duet_triplet_inputs options) {
  options.x = x.matrix();
  options.y = y.matrix();
  const Tensor row_loss = tape.make(x.rows), row_active = tape.make(x.rows), loss = tape.make(1), active = tape.make(1);
  succeed(duet_triplet_forward(tape.context(), &options, row_loss.vector(), row_active.vector(), tape.workspace(duet_triplet_workspace, options)));
  succeed(duet_triplet_loss(tape.context(), row_loss.vector(), row_active.vector(), loss.vector(), active.vector()));
  return tape.record(loss, {x, y}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_triplet_backward(tape.context(), &options, active.vector(), output.grad_vector(), x.grad_matrix(), y.grad_matrix(),
                                  tape.workspace(duet_triplet_workspace, options)));
  });
}

}  // namespace duet::ops
