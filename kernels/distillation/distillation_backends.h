// What each backend implements of distillation, on checked arguments. Inputs without data are absent, outputs without
// data not wanted.
#pragma once

#include "kernels/core/annotated.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/distillation/distillation.h"

namespace duet {

struct DistillationInputs {
  Matrix<const float> student_a, student_v, teacher_a, teacher_v;  // n x d, m x d, n x d', m x d'
  Matrix<const float> class_a, class_v;                            // n x C, m x C, both or neither
  Vector<const float> trust_a, trust_v, kappa_a, kappa_v;          // n, m, n, m
  Vector<const float> scale, teacher_scale;
  Vector<const int32_t> group_a, group_v;  // n, m, both or neither
  bool paired, exclude_own;                // not both
  int64_t first_row, first_column;
  AnnotatedRows annotated;  // with classes

  bool has_groups() const { return group_a || group_v; }
  // Whether labels or groups say what agrees, own pairs then among it.
  bool has_agreement() const { return class_a || has_groups(); }
  // Whether own pairs stand apart from the other pairs of their row.
  bool own_apart() const { return paired || exclude_own; }
  // The row or column whose only pair takes no part; what is no index where there is none.
  int64_t empty_row() const { return exclude_own && student_v.rows == 1 ? first_column - first_row : -1; }
  int64_t empty_column() const { return exclude_own && student_a.rows == 1 ? first_row - first_column : -1; }
};

struct DistillationOutputs {
  Vector<float> row_loss, column_loss;
  Matrix<float> row_statistics,
      column_statistics;  // n x 5, m x 5: lse_s, lse_t, N, log-odds of the own pair by student and teacher
  Matrix<double> row_sums, column_sums;  // n x 11, m x 11; with data that side's loss and statistics have none
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

// Of parts of a batch, on the CPU alone; sums, left and right: k x 11.
namespace cpu {
void distillation_merge(const duet_context& context, Matrix<const double> left, Matrix<const double> right,
                        Matrix<double> sums);
void distillation_close(const duet_context& context, Matrix<const double> sums, Vector<const float> kappa,
                        bool agreement, Vector<float> loss, Matrix<float> statistics);
}  // namespace cpu

}  // namespace duet
