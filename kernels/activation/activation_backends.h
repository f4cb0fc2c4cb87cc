// What each backend implements of activation and dropout, on checked arguments.
#pragma once

#include "kernels/activation/activation.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {

class Arguments;

struct Dropout {
  float drop_probability;
  uint64_t seed;
  uint32_t stream;
  Vector<const int64_t> step;
  int64_t first_row;
};

// Checks inputs.dropout, of rows x columns elements.
Dropout check_dropout(const duet_context* context, const duet_dropout_options* given, int64_t rows, int64_t columns,
                      Arguments& arguments);
// Whether it drops anything at all.
bool drops(const duet_dropout_options* given);

DUET_BACKEND_FUNCTION(void, activation_forward, const duet_context& context, duet_activation_kind kind,
                      Matrix<const float> x, Matrix<float> outputs)
DUET_BACKEND_FUNCTION(void, activation_backward, const duet_context& context, duet_activation_kind kind,
                      Matrix<const float> x, Matrix<const float> grad_outputs, Matrix<float> grad_x)
DUET_BACKEND_FUNCTION(void, dropout_forward, const duet_context& context, const Dropout& dropout, Matrix<const float> x,
                      Matrix<float> outputs)
DUET_BACKEND_FUNCTION(void, dropout_backward, const duet_context& context, const Dropout& dropout,
                      Matrix<const float> grad_outputs, Matrix<float> grad_x)

}  // namespace duet
