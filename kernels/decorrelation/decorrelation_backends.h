// What each backend implements of decorrelation, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {
DUET_BACKEND_FUNCTION(size_t, decorrelation_workspace, int64_t n, int64_t d)
DUET_BACKEND_FUNCTION(void, decorrelation_forward, const duet_context& context, Matrix<const float> a,
                      Matrix<const float> v, float eps, Vector<float> loss, Workspace workspace)
DUET_BACKEND_FUNCTION(void, decorrelation_backward, const duet_context& context, Matrix<const float> a,
                      Matrix<const float> v, float eps, Vector<const float> grad_loss, Matrix<float> grad_a,
                      Matrix<float> grad_v, Workspace workspace)

}  // namespace duet
