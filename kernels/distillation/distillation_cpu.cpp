#include <algorithm>
#include <cmath>

#include "kernels/cpu/softmax_sweep.h"
#include "kernels/cpu/target_sweep.h"
#include "kernels/distillation/distillation_backends.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : n(in.student_a.rows),
        m(in.student_v.rows),
        sweep(n, m, Sweep::kNarrow),
        target(workspace, context, sweep, n, m, in.class_a ? in.class_a.columns : 0),
        student_scores(workspace, sweep, in.student_v.columns),
        teacher_scores(workspace, sweep, in.teacher_v.columns),
        stride(padded(sweep.tile_columns())),
        dots(workspace.take<float>(context.threads * 2 * sweep.tile_rows() * stride)) {}

  void pack(const duet_context& context, const Block& block, const DistillationInputs& in) {
    student_scores.pack(context, block, in.student_v);
    teacher_scores.pack(context, block, in.teacher_v);
  }

  // The thread's tiles of a_i.v_j.
  Matrix<float> fill_student(const Tile& tile, int thread, const DistillationInputs& in) const {
    return fill(tile, 2 * thread, student_scores, in.student_a);
  }
  Matrix<float> fill_teacher(const Tile& tile, int thread, const DistillationInputs& in) const {
    return fill(tile, 2 * thread + 1, teacher_scores, in.teacher_a);
  }

  int64_t n, m;
  Sweep sweep;
  TargetSweep target;
  BlockScores student_scores, teacher_scores;
  int64_t stride;
  float* dots;  // threads x 2 tiles

 private:
  Matrix<float> fill(const Tile& tile, int which, const BlockScores& scores, Matrix<const float> a) const {
    const Matrix<float> out{dots + which * sweep.tile_rows() * stride, tile.rows, tile.columns, stride};
    scores.fill(tile, a, out);
    return out;
  }
};

struct ForwardScratch : Scratch {
  ForwardScratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : Scratch(workspace, context, in), student(workspace, context, sweep, n, m), teacher(workspace, context, sweep, n, m) {}

  SoftmaxSweep student, teacher;
};

struct BackwardScratch : Scratch {
  BackwardScratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : Scratch(workspace, context, in),
        student(workspace, context, sweep, n, m),
        teacher(workspace, context, sweep, n, m),
        gradient(workspace, sweep),
        products(workspace, sweep.block_rows(), sweep.block_columns(), in.student_a.columns) {}

  SoftmaxPull student, teacher;
  ScoreGradient gradient;
  BlockGradients products;
};

Agreement agreement_of(const DistillationInputs& in) {
  // Without classes there is no target at all, not even the own pairs.
  return {in.class_a, in.class_v, in.paired && in.class_a, in.first_row, in.first_column};
}

// One row's or column's loss in nats; statistics lse_s, lse_t, N.
float finish(const LogSum& student, const LogSum& teacher, const TargetSum& target, double kappa, float* statistics) {
  const double lse_s = student.log(), lse_t = teacher.log();
  statistics[0] = static_cast<float>(lse_s);
  statistics[1] = static_cast<float>(lse_t);
  statistics[2] = static_cast<float>(target.weight);
  // E/Z_t - log Z_t + log Z_s: the references of the sums are inside both the cross sum and the log-sum-exps
  const double to_teacher = teacher.cross / teacher.sum - lse_t + lse_s;
  const double to_target = has_target(statistics[2]) ? target.cross / target.weight - std::log(target.weight) + lse_s : 0;
  return static_cast<float>((1 - kappa) * to_teacher + kappa * to_target);
}

// One row's or column's share of the gradient: w ((1-kappa)(P - P') + kappa (P - What)).
template <class SetStudent, class SetTeacher, class SetTarget>
void pull(const float* statistics, float weight, float kappa, SetStudent&& student, SetTeacher&& teacher, SetTarget&& target) {
  const float sum = statistics[2];
  student(statistics[0], weight * ((1 - kappa) + (has_target(sum) ? kappa : 0)));
  teacher(statistics[1], -weight * (1 - kappa));
  target(has_target(sum) ? static_cast<float>(double{weight} * kappa / sum) : 0.0f);
}

}  // namespace

size_t distillation_workspace(const duet_context& context, const DistillationInputs& inputs) {
  Workspace forward, backward;
  ForwardScratch(forward, context, inputs);
  BackwardScratch(backward, context, inputs);
  return std::max(forward.used(), backward.used());
}

void distillation_forward(const duet_context& context, const DistillationInputs& in, const DistillationOutputs& out,
                          const duet_workspace& workspace) {
  Workspace pieces(workspace);
  ForwardScratch scratch(pieces, context, in);
  const float scale = in.scale[0], teacher_scale = in.teacher_scale[0];
  const float bound = std::abs(scale) * norm_bound(context, in.student_a) * norm_bound(context, in.student_v);
  const float teacher_bound = std::abs(teacher_scale) * norm_bound(context, in.teacher_a) * norm_bound(context, in.teacher_v);
  scratch.student.begin(bound);
  scratch.teacher.begin(bound <= kBoundedScore ? teacher_bound : bound);
  scratch.target.begin(context, agreement_of(in), in.trust_a, in.trust_v);
  scratch.sweep.run(
      context, [&](const Block& block) { scratch.pack(context, block, in); },
      [&](const Tile& tile, int thread) {
        const Matrix<float> s = scratch.fill_student(tile, thread, in);
        const Matrix<float> t = scratch.fill_teacher(tile, thread, in);
        const float centre = scratch.student.take(tile, thread, s, scale);
        scratch.teacher.take_cross(tile, thread, t, teacher_scale, s, scale, centre);
        scratch.target.take(tile, thread, s, scale, Entropy::yes);
      },
      [&](const Block& block) {
        scratch.student.merge(context, block);
        scratch.teacher.merge(context, block, true);
        scratch.target.merge(context, block);
      });
  const bool empty = scratch.n == 0 || scratch.m == 0;
  for (int64_t i = 0; i < scratch.n; ++i) {
    const float loss =
        finish(scratch.student.row(i), scratch.teacher.row(i), scratch.target.row(i), in.kappa_a ? in.kappa_a[i] : 0, out.row_statistics.row(i));
    out.row_loss[i] = empty ? 0 : loss;
  }
  for (int64_t j = 0; j < scratch.m; ++j) {
    const float loss = finish(scratch.student.column(j), scratch.teacher.column(j), scratch.target.column(j), in.kappa_v ? in.kappa_v[j] : 0,
                              out.column_statistics.row(j));
    out.column_loss[j] = empty ? 0 : loss;
  }
}

void distillation_backward(const duet_context& context, const DistillationInputs& in, Matrix<const float> row_statistics,
                           Matrix<const float> column_statistics, const DistillationGradients& out, const duet_workspace& workspace) {
  const bool rows = bool(out.row_weight), columns = bool(out.column_weight);
  if (!rows && !columns) return;
  Workspace pieces(workspace);
  BackwardScratch scratch(pieces, context, in);
  const float scale = in.scale[0], teacher_scale = in.teacher_scale[0];
  scratch.student.begin(rows, columns);
  scratch.teacher.begin(rows, columns);
  scratch.target.begin(context, agreement_of(in), in.trust_a, in.trust_v);
  scratch.gradient.begin();
  scratch.products.begin(in.student_a, in.student_v, out.a, out.v);
  for (int64_t i = 0; i < scratch.n; ++i)
    pull(
        row_statistics.row(i), rows ? out.row_weight[i] : 0, in.kappa_a ? in.kappa_a[i] : 0,
        [&](float log_sum, float weight) { scratch.student.set_row(i, log_sum, weight); },
        [&](float log_sum, float weight) { scratch.teacher.set_row(i, log_sum, weight); },
        [&](float weight) { scratch.target.set_row(i, rows ? weight : 0); });
  for (int64_t j = 0; j < scratch.m; ++j)
    pull(
        column_statistics.row(j), columns ? out.column_weight[j] : 0, in.kappa_v ? in.kappa_v[j] : 0,
        [&](float log_sum, float weight) { scratch.student.set_column(j, log_sum, weight); },
        [&](float log_sum, float weight) { scratch.teacher.set_column(j, log_sum, weight); },
        [&](float weight) { scratch.target.set_column(j, columns ? weight : 0); });
  scratch.sweep.run(
      context, [&](const Block& block) { scratch.pack(context, block, in); },
      [&](const Tile& tile, int thread) {
        const Matrix<float> s = scratch.fill_student(tile, thread, in);
        const Matrix<float> t = scratch.fill_teacher(tile, thread, in);
        const Matrix<float> g = scratch.gradient.tile(tile);
        scratch.student.add(tile, thread, s, scale, Accumulate::no, g);
        scratch.teacher.add(tile, thread, t, teacher_scale, Accumulate::yes, g);
        scratch.target.subtract(tile, thread, g);
        scratch.gradient.close(tile, s, scale);
      },
      [&](const Block& block) { scratch.products.add(context, block, scratch.gradient.merge(block)); });
  if (out.scale) out.scale[0] += static_cast<float>(scratch.gradient.scale());
}

}  // namespace duet::cpu
