#include "kernels/core/error.h"
#include "runtime/ops.h"

namespace duet::ops {

Tensor gather(Tape& tape, const Tensor& source, Indices indices) {
  const Tensor rows = tape.make(indices.size, source.columns);
  succeed(duet_gather_forward(tape.context(), source.matrix(), indices.vector(), rows.matrix()));
  return tape.record(rows, {source}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_gather_backward(tape.context(), indices.vector(), output.grad_matrix(), source.grad_matrix()));
  });
}

}  // namespace duet::ops
