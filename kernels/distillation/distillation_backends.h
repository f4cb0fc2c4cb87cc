// What each backend implements of distillation, on checked arguments. Inputs without data are absent, outputs without
// data not wanted.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/distillation/distillation.h"

namespace duet {

struct DistillationInputs {
  Matrix<const float> student_a, student_v, teacher_a, teacher_v;  // n x d, m x d, n x d', m x d'
  Matrix<const float> class_a, class_v;                            // n x C, m x C, both or neither
  Vector<const float> trust_a, trust_v, kappa_a, kappa_v;          // n, m, n, m
  Vector<const float> scale, teacher_scale;
  bool paired;
  int64_t first_row, first_column;
};

struct DistillationOutputs {
  Vector<float> row_loss, column_loss;
  Matrix<float> row_statistics,
      column_statistics;  // n x 5, m x 5: lse_s, lse_t, N, log-odds of the own pair by student and teacher
};

struct DistillationGradients {
  Vector<const float> row_weight, column_weight;  // upstream
  Matrix<float> a, v;
  Vector<float> scale;
};

DUET_BACKEND_FUNCTION(size_t, distillation_workspace, const duet_context& context, const DistillationInputs& inputs)
DUET_BACKEND_FUNCTION(void, distillation_forward, const duet_context& context, const DistillationInputs& inputs,
                      const DistillationOutputs& outputs, const duet_workspace& workspace)
DUET_BACKEND_FUNCTION(void, distillation_backward, const duet_context& context, const DistillationInputs& inputs,
                      Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                      const DistillationGradients& gradients, const duet_workspace& workspace)

}  // namespace duet
