// What each backend implements of normalization, on checked arguments.
#pragma once

#include <cstddef>

#include "kernels/activation/activation_backends.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/normalization/normalization.h"

namespace duet {

struct LayerNormInputs {
  Matrix<const float> x;
  Vector<const float> gain, offset;  // each may be null
  float eps;
  bool fuses;  // whether activation and dropout follow
  duet_activation_kind activation;
  Dropout dropout;  // drop_probability 0: none

  bool drops() const { return dropout.drop_probability > 0; }
};

struct LayerNormGradients {
  Matrix<float> x;
  Vector<float> gain, offset;  // each of the three may be null
};

DUET_BACKEND_FUNCTION(size_t, layer_norm_workspace, Matrix<const float> x, bool fuses, bool drops)
DUET_BACKEND_FUNCTION(void, unit_rows_forward, const duet_context& context, Matrix<const float> x, float eps,
                      Matrix<float> outputs)
DUET_BACKEND_FUNCTION(void, unit_rows_backward, const duet_context& context, Matrix<const float> x, float eps,
                      Matrix<const float> grad_outputs, Matrix<float> grad_x)
DUET_BACKEND_FUNCTION(void, layer_norm_forward, const duet_context& context, const LayerNormInputs& inputs,
                      Matrix<float> outputs)
DUET_BACKEND_FUNCTION(void, layer_norm_backward, const duet_context& context, const LayerNormInputs& inputs,
                      Matrix<const float> grad_outputs, const LayerNormGradients& gradients, Workspace workspace)

}  // namespace duet
