// What each backend implements of linear, on checked arguments.
#pragma once

#include "kernels/activation/activation_backends.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {

struct LinearInputs {
  Matrix<const float> x, weight;  // B x in, out x in
  Vector<const float> bias;       // out, or null
  float output_scale;
  bool relu;
  Dropout dropout;  // drop_probability 0: none

  bool drops() const { return dropout.drop_probability > 0; }
};

struct LinearGradients {
  Matrix<float> x, weight;  // B x in, out x in; each may be null
  Vector<float> bias;       // out, or null
};

DUET_BACKEND_FUNCTION(size_t, linear_workspace, const duet_context& context, const LinearInputs& inputs)
DUET_BACKEND_FUNCTION(void, linear_forward, const duet_context& context, const LinearInputs& inputs,
                      Matrix<float> outputs, Workspace workspace)
DUET_BACKEND_FUNCTION(void, linear_backward, const duet_context& context, const LinearInputs& inputs,
                      Matrix<const float> outputs, Matrix<const float> grad_outputs, const LinearGradients& gradients,
                      Workspace workspace)

}  // namespace duet
