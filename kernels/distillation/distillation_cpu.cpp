#include <algorithm>

#include "kernels/cpu/target_sweep.h"
#include "kernels/distillation/distillation_formula.h"
#include "kernels/distillation/distillation_sums_cpu.h"
#include "kernels/pairs/driver_cpu.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : n(in.student_a.rows),
        m(in.student_v.rows),
        sweep(n, m, Sweep::kNarrow),
        target(workspace, context, sweep, n, m, in.class_a ? in.class_a.columns : 0, in.has_groups()),
        student_scores(workspace, sweep, in.student_v.columns),
        teacher_scores(workspace, sweep, in.teacher_v.columns),
        tiles(workspace, context, sweep, 2) {}

  void pack(const duet_context& context, const Block& block, const DistillationInputs& in) {
    student_scores.pack(context, block, in.student_v);
    teacher_scores.pack(context, block, in.teacher_v);
  }

  // The thread's tiles of a_i.v_j.
  Matrix<float> fill_student(const Tile& tile, int thread, const DistillationInputs& in) const {
    const Matrix<float> out = tiles.tile(tile, thread);
    student_scores.fill(tile, in.student_a, out);
    return out;
  }
  Matrix<float> fill_teacher(const Tile& tile, int thread, const DistillationInputs& in) const {
    const Matrix<float> out = tiles.tile(tile, thread, 1);
    teacher_scores.fill(tile, in.teacher_a, out);
    return out;
  }

  int64_t n, m;
  Sweep sweep;
  TargetSweep target;
  BlockScores student_scores, teacher_scores;
  ThreadTiles tiles;
};

struct ForwardScratch : Scratch {
  ForwardScratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : Scratch(workspace, context, in),
        student(workspace, context, sweep, n, m),
        teacher(workspace, context, sweep, n, m),
        own_student(workspace, n, m),
        own_teacher(workspace, n, m) {}

  SoftmaxSweep student, teacher;
  OwnScores own_student, own_teacher;
};

struct BackwardScratch : Scratch {
  BackwardScratch(Workspace& workspace, const duet_context& context, const DistillationInputs& in)
      : Scratch(workspace, context, in),
        student(workspace, context, sweep, n, m),
        teacher(workspace, context, sweep, n, m),
        gradient(workspace, sweep),
        products(workspace, context, n, sweep.block_rows(), sweep.block_columns(), in.student_a.columns) {}

  SoftmaxBackward student, teacher;
  ScoreGradient gradient;
  BlockGradients products;
};

Agreement agreement_of(const DistillationInputs& in) {
  // Without classes and groups there is no target at all, not even the own pairs.
  return {in.class_a,   in.class_v,      in.own_apart() && in.has_agreement(),
          in.first_row, in.first_column, in.exclude_own,
          in.group_a,   in.group_v,      in.annotated};
}
Agreement own_pairs_of(const DistillationInputs& in) {
  return {{}, {}, in.own_apart(), in.first_row, in.first_column, in.exclude_own};
}

struct Forward {
  const duet_context& context;
  const DistillationInputs& in;
  const DistillationOutputs& out;
  ForwardScratch& scratch;
  float student_factor;  // of the student's dots as the sums see them

  void pack(const Block& block) { scratch.pack(context, block, in); }
  void take(const Tile& tile, int thread) {
    const Matrix<float> s = scratch.fill_student(tile, thread, in);
    const Matrix<float> t = scratch.fill_teacher(tile, thread, in);
    scratch.own_student.leave_out(tile, s);
    scratch.own_teacher.leave_out(tile, t);
    const float centre = scratch.student.take(tile, thread, s);
    scratch.teacher.take_cross(tile, thread, t, s, student_factor, centre);
    scratch.target.take(tile, thread, s, student_factor, Entropy::yes);
  }
  void merge(const Block& block) {
    scratch.student.merge(context, block);
    scratch.teacher.merge(context, block, true);
    scratch.target.merge(context, block);
  }
  void row(int64_t i) {
    const DistillationSums sums = sums_of(scratch.student.row(i), scratch.teacher.row(i), scratch.own_student.of_row(i),
                                          scratch.own_teacher.of_row(i), scratch.target.row(i));
    if (out.row_sums)
      sums.store(out.row_sums.row(i));
    else
      out.row_loss[i] = sums.close(in.has_agreement(), in.kappa_a ? in.kappa_a[i] : 0, out.row_statistics.row(i));
  }
  void column(int64_t j) {
    const DistillationSums sums =
        sums_of(scratch.student.column(j), scratch.teacher.column(j), scratch.own_student.of_column(j),
                scratch.own_teacher.of_column(j), scratch.target.column(j));
    if (out.column_sums)
      sums.store(out.column_sums.row(j));
    else
      out.column_loss[j] = sums.close(in.has_agreement(), in.kappa_v ? in.kappa_v[j] : 0, out.column_statistics.row(j));
  }
  static DistillationSums sums_of(const LogSum& student, const LogSum& teacher, const OwnScores::Own& own_student,
                                  const OwnScores::Own& own_teacher, const TargetSum& positives) {
    // Where there are no others, their sums are of the score that stood in the own pair's place.
    const bool others = own_student.others > 0;
    return {others ? student : LogSum{},
            others ? teacher : LogSum{},
            own_student.score,
            own_teacher.score,
            own_student.there,
            static_cast<double>(own_student.others),
            positives};
  }
};

struct Backward {
  const duet_context& context;
  const DistillationInputs& in;
  Matrix<const float> row_statistics, column_statistics;
  const DistillationGradients& out;
  BackwardScratch& scratch;

  DistillationRowWeights row_weights(int64_t i) const {
    return DistillationRowWeights(row_statistics.row(i), out.row_weight && i != in.empty_row() ? out.row_weight[i] : 0,
                                  in.kappa_a ? in.kappa_a[i] : 0);
  }
  DistillationRowWeights column_weights(int64_t j) const {
    return DistillationRowWeights(column_statistics.row(j),
                                  out.column_weight && j != in.empty_column() ? out.column_weight[j] : 0,
                                  in.kappa_v ? in.kappa_v[j] : 0);
  }

  void pack(const Block& block) { scratch.pack(context, block, in); }
  double form(const Tile& tile, int thread, Matrix<float> gradient) {
    const float scale = in.scale[0];
    const Matrix<float> s = scratch.fill_student(tile, thread, in);
    const Matrix<float> t = scratch.fill_teacher(tile, thread, in);
    scratch.student.add(tile, thread, s, scale, Accumulate::no, gradient);
    scratch.teacher.add(tile, thread, t, in.teacher_scale[0], Accumulate::yes, gradient);
    scratch.target.subtract(tile, thread, gradient);
    const auto confident = [](const float* statistics) { return statistics[kStudentLogOdds] > 0; };
    for_each_own_pair(own_pairs_of(in), tile, [&](int64_t r, int64_t c) {
      if (in.exclude_own) {
        gradient.row(r)[c] = 0;
        return;
      }
      const int64_t i = tile.first_row + r, j = tile.first_column + c;
      const float *row = row_statistics.row(i), *column = column_statistics.row(j);
      if (confident(row) || confident(column))
        gradient.row(r)[c] = static_cast<float>(row_weights(i).own(row) + column_weights(j).own(column));
    });
    return scale_gradient(s, scale, gradient);
  }
  void add(const Block& block, Matrix<float> gradient) { scratch.products.add(context, block, gradient); }
};

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
  const float bound = score_bound(context, scale, in.student_a, in.student_v);
  const float teacher_bound = score_bound(context, teacher_scale, in.teacher_a, in.teacher_v);
  const float common_bound = bound <= kBoundedScore ? teacher_bound : bound;
  const float student_factor = scratch.own_student.begin(own_pairs_of(in), bound, scale);
  const float teacher_factor = scratch.own_teacher.begin(own_pairs_of(in), common_bound, teacher_scale);
  scratch.student.begin(bound, student_factor);
  scratch.teacher.begin(common_bound, teacher_factor);
  scratch.target.begin(context, agreement_of(in), in.trust_a, in.trust_v);
  pairs_forward(context, scratch.sweep, scratch.n, scratch.m, Forward{context, in, out, scratch, student_factor});
}

void distillation_backward(const duet_context& context, const DistillationInputs& in,
                           Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                           const DistillationGradients& out, const duet_workspace& workspace) {
  const bool rows = bool(out.row_weight), columns = bool(out.column_weight);
  if (!rows && !columns) return;
  Workspace pieces(workspace);
  BackwardScratch scratch(pieces, context, in);
  scratch.student.begin(rows, columns);
  scratch.teacher.begin(rows, columns);
  scratch.target.begin(context, agreement_of(in), in.trust_a, in.trust_v);
  scratch.products.begin(in.student_a, in.student_v, out.a, out.v);
  Backward backward{context, in, row_statistics, column_statistics, out, scratch};
  for (int64_t i = 0; i < scratch.n; ++i) {
    const DistillationRowWeights weights = backward.row_weights(i);
    scratch.student.set_row(i, row_statistics.row(i)[kStudentLogSum], weights.student);
    scratch.teacher.set_row(i, row_statistics.row(i)[kTeacherLogSum], weights.teacher);
    scratch.target.set_row(i, weights.target);
  }
  for (int64_t j = 0; j < scratch.m; ++j) {
    const DistillationRowWeights weights = backward.column_weights(j);
    scratch.student.set_column(j, column_statistics.row(j)[kStudentLogSum], weights.student);
    scratch.teacher.set_column(j, column_statistics.row(j)[kTeacherLogSum], weights.teacher);
    scratch.target.set_column(j, weights.target);
  }
  const float by_scale = pairs_backward(context, scratch.sweep, scratch.gradient, backward);
  if (out.scale) out.scale[0] += by_scale;
}

}  // namespace duet::cpu
