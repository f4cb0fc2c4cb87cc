#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/core/arguments.h"
#include "kernels/cross_entropy/cross_entropy_backends.h"

using namespace duet;

duet_status duet_cross_entropy_forward(duet_context* context, duet_matrix logits, duet_matrix targets, duet_vector row_loss) {
  return guard("cross_entropy_forward", [&] {
    Arguments arguments;
    const auto z = arguments.matrix<const float>(logits, "logits", kAny, kAny);
    const auto q = arguments.matrix<const float>(targets, "targets", z.rows, z.columns);
    const auto loss = arguments.vector<float>(row_loss, "row_loss", z.rows);
    arguments.check();
    dispatch(
        context, [&] { cpu::cross_entropy_forward(*context, z, q, loss); }, [&] { cuda::cross_entropy_forward(*context, z, q, loss); });
  });
}

duet_status duet_cross_entropy_backward(duet_context* context, duet_matrix logits, duet_matrix targets, duet_vector row_weight,
                                        duet_matrix grad_logits) {
  return guard("cross_entropy_backward", [&] {
    Arguments arguments;
    const auto z = arguments.matrix<const float>(logits, "logits", kAny, kAny);
    const auto q = arguments.matrix<const float>(targets, "targets", z.rows, z.columns);
    const auto weight = arguments.vector<const float>(row_weight, "row_weight", z.rows);
    const auto grad = arguments.matrix<float>(grad_logits, "grad_logits", z.rows, z.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::cross_entropy_backward(*context, z, q, weight, grad); },
        [&] { cuda::cross_entropy_backward(*context, z, q, weight, grad); });
  });
}
