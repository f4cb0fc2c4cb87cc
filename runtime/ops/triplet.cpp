#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor triplet(Tape& tape, const Tensor& x, const Tensor& y, duet_triplet_inputs options) {
  options.x = x.matrix();
  options.y = y.matrix();
  const Tensor row_loss = tape.make(x.rows), row_active = tape.make(x.rows), loss = tape.make(1), active = tape.make(1);
  // Both passes of the kernel sort every row; where a gradient is needed forward leaves it, and only the division by
  // the batch's sum is left.
  const bool recorded = tape.recording() && (x.requires_grad() || y.requires_grad());
  const Tensor sum_x = recorded && x.requires_grad() ? tape.make(x.rows, x.columns) : Tensor{};
  const Tensor sum_y = recorded && y.requires_grad() ? tape.make(y.rows, y.columns) : Tensor{};
  succeed(duet_triplet_forward(tape.context(), &options,
                               sized<duet_triplet_outputs>({.row_loss = row_loss.vector(),
                                                            .row_active = row_active.vector(),
                                                            .sum_x = sum_x.matrix(),
                                                            .sum_y = sum_y.matrix()}),
                               tape.workspace(duet_triplet_workspace, options)));
  succeed(duet_triplet_loss(
      tape.context(),
      sized<duet_triplet_loss_inputs>({.row_loss = row_loss.vector(), .row_active = row_active.vector()}),
      sized<duet_triplet_loss_outputs>({.loss = loss.vector(), .active = active.vector()})));
  return tape.record(loss, {x, y}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_triplet_add_gradient(tape.context(),
                                      sized<duet_triplet_sums>({.sum_x = sum_x.matrix(), .sum_y = sum_y.matrix()}),
                                      sized<duet_triplet_gradients>({.active = active.vector(),
                                                                     .grad_loss = output.grad_vector(),
                                                                     .grad_x = x.grad_matrix(),
                                                                     .grad_y = y.grad_matrix()})));
  });
}

}  // namespace duet::ops
