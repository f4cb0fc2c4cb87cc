// What each backend implements of distance, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/distance/distance.h"

namespace duet {

struct DistanceInputs {
  Matrix<const float> x, y;  // n x d, m x d
  duet_metric metric;
};

namespace cpu {

size_t distance_workspace(const duet_context& context, const DistanceInputs& inputs);
void distance_forward(const duet_context& context, const DistanceInputs& inputs, Matrix<float> distances,
                      const duet_workspace& workspace);
// distances is read for euclidean, and for cosine where it has data; a gradient without data is not computed.
void distance_backward(const duet_context& context, const DistanceInputs& inputs, Matrix<const float> distances,
                       Matrix<const float> grad_distances, Matrix<float> grad_x, Matrix<float> grad_y,
                       const duet_workspace& workspace);

}  // namespace cpu

namespace cuda {

size_t distance_workspace(const duet_context& context, const DistanceInputs& inputs);
void distance_forward(const duet_context& context, const DistanceInputs& inputs, Matrix<float> distances,
                      const duet_workspace& workspace);
// unless_zero, in device memory: where it is 0 nothing is added; null: always.
void distance_backward(const duet_context& context, const DistanceInputs& inputs, Matrix<const float> distances,
                       Matrix<const float> grad_distances, Matrix<float> grad_x, Matrix<float> grad_y,
                       const duet_workspace& workspace, const float* unless_zero = nullptr);

}  // namespace cuda
}  // namespace duet
