// What forward and backward of distillation share on the GPU: the pieces of the workspace, and the view that their
// kernels read.
#pragma once

#include "kernels/distillation/distillation_formula.h"
#include "kernels/pairs/driver_cuda.h"

namespace duet::cuda {

template <duet_precision P>
using DistillationTile = DualTile<P>;

struct DistillationView {
  ScoreView student, teacher;
  AgreementView agreement;

  __device__ bool bounded() const { return student.bounded() && teacher.bounded(); }
};

struct DistillationScratch {
  DistillationScratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : n(in.student_a.rows),
        m(in.student_v.rows),
        tile_columns(dual_columns(context.precision)),
        student(workspace, context.precision, n, m, in.student_a.columns),
        teacher(workspace, context.precision, n, m, in.teacher_a.columns),
        agreement(workspace, n, m, in.class_a.columns, in.has_groups(), bool(in.annotated)),
        student_sums(workspace, n, m, tile_columns, Shift::yes, Cross::no),
        teacher_sums(workspace, n, m, tile_columns, Shift::yes, Cross::yes),
        target_sums(workspace, has_positives(in) ? n : 0, has_positives(in) ? m : 0, tile_columns, Shift::no,
                    Cross::yes),
        own_student(workspace.take<float>(n)),
        own_teacher(workspace.take<float>(n)),
        weights(workspace, n, m),
        scale_sums(workspace, n, m, tile_columns),
        products(workspace, context.precision, n, m, in.student_a.columns) {}

  // Beside own pairs.
  static bool has_positives(const DistillationInputs& in) { return in.class_a.columns > 0 || in.has_groups(); }

  DistillationView prepare(const duet_context& context, const DistillationInputs& in) {
    student.prepare(context, in.student_a, in.student_v, in.scale);
    teacher.prepare(context, in.teacher_a, in.teacher_v, in.teacher_scale);
    agreement.prepare(context, in.class_a, in.class_v, in.trust_a, in.trust_v, in.paired, in.first_row, in.first_column,
                      {in.group_a, in.group_v, in.exclude_own, in.annotated});
    return {student.view(), teacher.view(), agreement.view()};
  }

  int64_t n, m;
  int tile_columns;
  ScoreRows student, teacher;
  AgreementRows agreement;
  // Base 2; target: N and sum pos (log2 pos - s) without own pairs.
  SweepSums student_sums, teacher_sums, target_sums;
  float *own_student, *own_teacher;  // n: the score of a row with its own column
  GradientWeights weights;
  TileSums scale_sums;
  BlockGradients products;
};

// The gradient weights of a row or a column: w ((1 - kappa)(P - P') + kappa (P - What)), the second part where there is
// a target.
struct DistillationGradientWeight {
  Matrix<const float> statistics;
  const float *weight, *kappa;  // null: 0
  int64_t empty;                // takes no part, whatever its weight

  __device__ GradientWeight operator()(int64_t i) const {
    GradientWeight to{};
    if (weight == nullptr || i == empty) return to;
    const float* of = statistics.row(i);
    const DistillationRowWeights parts(of, weight[i], kappa ? kappa[i] : 0);
    to.student_log_sum = of[kStudentLogSum];
    to.student = checked_weight(parts.student, of[kStudentLogSum]);
    to.teacher_log_sum = of[kTeacherLogSum];
    to.teacher = checked_weight(parts.teacher, of[kTeacherLogSum]);
    to.target = parts.target;
    return to;
  }
  // At its own pair.
  __device__ double own(int64_t i) const {
    if (weight == nullptr) return 0;
    return DistillationRowWeights(statistics.row(i), weight[i], kappa ? kappa[i] : 0).own(statistics.row(i));
  }
};

// One launch a pass for small batches (distillation_small_cuda.cu): whether it is for these, and then its passes.
bool distillation_is_small(const duet_context& context, const DistillationInputs& inputs);
size_t small_distillation_workspace(const DistillationInputs& inputs);
void small_distillation_forward(const duet_context& context, const DistillationInputs& inputs,
                                const DistillationOutputs& outputs);
void small_distillation_backward(const duet_context& context, const DistillationInputs& inputs,
                                 Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                                 const DistillationGradients& gradients, const duet_workspace& workspace);

}  // namespace duet::cuda
