// Decorrelation of a batch whose launches cost more than its products.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet::cuda {

// Whether a call uses this form: at most context.small_rows and 256 rows, at most 256 columns.
bool decorrelation_is_small(const duet_context& context, int64_t n, int64_t d);
int64_t decorrelation_small_partials(int64_t d);  // 0 where no call of d columns uses this form
// Writes partials[0 .. decorrelation_small_partials(d)), the sums of R's off-diagonal squares over tiles. One launch.
void decorrelation_small_forward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, double eps,
                                 double* partials);
// Adds to gradients that have data. One launch.
void decorrelation_small_backward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, double eps,
                                  const float* grad_loss, Matrix<float> grad_a, Matrix<float> grad_v);

}  // namespace duet::cuda
