// A block of threads owns 4 rows of either side and reads all rows of the other (cuda/small_pairs.h).
// Bytes: at n = m = 128, d = d' = 64, 10 classes 69 KB a block, 4.4 MB in all, from L2.
// Products: forward four of scores, backward two more with G; W beside them. PLAN.md has the figures.
#include "kernels/cuda/small_pairs_backward.h"
#include "kernels/cuda/small_pairs_forward.h"
#include "kernels/distillation/distillation_cuda.h"

namespace duet::cuda {
namespace {

SmallPairs pairs_of(const DistillationInputs& in) {
  SmallPairs pairs({in.student_a, in.student_v}, {in.teacher_a, in.teacher_v}, {in.class_a, in.class_v}, in.trust_a,
                   in.trust_v, in.first_row - in.first_column);
  pairs.scale = in.scale.data;
  pairs.teacher_scale = in.teacher_scale.data;
  pairs.paired = in.paired;
  pairs.give({in.group_a, in.group_v, in.exclude_own, in.annotated});
  return pairs;
}

struct FinishSmallDistillation {
  static constexpr bool kTeacher = true;
  struct Side {
    Vector<const float> kappa;
    Vector<float> loss;
    Matrix<float> statistics;
    int64_t empty;  // has no loss
  } rows, columns;
  bool own_positive;  // own pairs, where there are any

  __device__ static float factor(const SmallScalars& scalars) { return scalars.scale * kLog2E; }
  __device__ void operator()(int side, int64_t i, const SmallRow& row, const SmallScalars&) const {
    const RunningSum student_sum = row.exponentials<false>(row.scores),
                     teacher_sum = row.exponentials<true>(row.teacher);
    const OtherPositives positives = row.positives<true>();
    const int lane = lane_of_warp();
    OwnAndOthers parts{};  // of the student in lane 0, of the teacher in lane 1
    RunningSum sum = teacher_sum;
    if (lane == 0) sum = student_sum;
    if (lane < 2) parts = row.parts(lane == 0 ? row.scores : row.teacher, sum);
    const OwnAndOthers teacher = shuffle_xor(parts, 1);
    if (lane > 0) return;
    const double mean = teacher_sum.cross / teacher_sum.sum * kLn2;
    const Side to = side == 0 ? rows : columns;
    const float loss = distillation_loss(parts, teacher, mean, positives, own_positive, to.kappa ? to.kappa[i] : 0,
                                         to.statistics.row(i));
    to.loss[i] = row.count == 0 || i == to.empty ? 0 : loss;
  }
};

}  // namespace

bool distillation_is_small(const duet_context& context, const DistillationInputs& in) {
  return are_small(context, in.student_a.rows, in.student_v.rows,
                   {in.student_a.columns, in.teacher_a.columns, in.class_a.columns});
}

size_t small_distillation_workspace(const DistillationInputs& in) {
  Workspace measure;
  SmallSums(measure, in.student_a.rows);
  return measure.used();
}

void small_distillation_forward(const duet_context& context, const DistillationInputs& in,
                                const DistillationOutputs& out) {
  small_forward(context, pairs_of(in), true,
                FinishSmallDistillation{{in.kappa_a, out.row_loss, out.row_statistics, in.empty_row()},
                                        {in.kappa_v, out.column_loss, out.column_statistics, in.empty_column()},
                                        in.has_agreement()});
}

void small_distillation_backward(const duet_context& context, const DistillationInputs& in,
                                 Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                                 const DistillationGradients& out, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  const SmallSums sums(pieces, in.student_a.rows);
  using Form = SmallSoftmax<DistillationGradientWeight, true>;
  const Form form{{{row_statistics, out.row_weight.data, in.kappa_a.data, in.empty_row()},
                   {column_statistics, out.column_weight.data, in.kappa_v.data, in.empty_column()}}};
  small_backward(context, SmallBackward<Form>{pairs_of(in), form, {out.a, out.v}, {}, nullptr, nullptr}, sums,
                 out.scale.data, nullptr);
}

}  // namespace duet::cuda
