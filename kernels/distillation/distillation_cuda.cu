// A block of threads owns a tile of pairs, student and teacher, and walks along a row of tiles.
// Bytes: packed operands, (n + m)(d + d') words, from L2; 28 that a tile says of a row and of a column.
// Products: two; with groups or annotated rows three. PLAN.md has the figures.
#include "kernels/distillation/distillation_cuda.h"

namespace duet::cuda {
namespace {

struct DistillationForward {
  static constexpr bool kAlone = false;
  DistillationView view;
  SweepPartials of_student, of_teacher, of_target;
  float *own_student, *own_teacher;

  int steps() const { return view.student.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values student, teacher;
    const auto teacher_product = dots_of<T>(view.teacher, place);
    T::multiply(loop, dots_of<T>(view.student, place, true), teacher_product, student);
    T::multiply(loop, teacher_product, dots_of<T>(view.student, walk.place(tile + 1), true), teacher);
    scale_dots<T>(view.student.factor(), place, student);
    scale_dots<T>(view.teacher.factor(), place, teacher);
    const OwnPairs own_pair = own_pairs<T>(view.agreement, place);
    store_own_scores<T>(own_pair, place, student, own_student);
    store_own_scores<T>(own_pair, place, teacher, own_teacher);
    const bool bounded = view.bounded();
    accumulate_exponentials<T, false>(loop.scratch(), place, bounded, student, student, of_student);
    accumulate_exponentials<T, true>(loop.scratch(), place, bounded, teacher, student, of_teacher);
    if (view.agreement.groups > 0 && !view.agreement.grouped)
      accumulate_positives<T, true>(loop.scratch(), view.agreement, place, own_pair, student, of_target);
  }
};

// The sums over positives where rows have groups or are annotated, in a pass of its own: beside those of the
// exponentials they do not fit the registers.
template <bool kAnnotated>
struct DistillationTargets {
  static constexpr bool kAlone = true;
  DistillationView view;
  SweepPartials of_target;

  int steps() const { return view.student.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values scores;
    T::multiply(loop, dots_of<T>(view.student, place, true), dots_of<T>(view.student, walk.place(tile + 1), true),
                scores);
    scale_dots<T>(view.student.factor(), place, scores);
    const OwnPairs own_pair = own_pairs<T>(view.agreement, place);
    replace_own<T>(own_pair, kOutside, scores);
    accumulate_positives<T, true, true, kAnnotated>(loop.scratch(), view.agreement, place, own_pair, scores, of_target);
  }
};

// One direction's losses and statistics.
struct FinishDistillation {
  const RunningSum *student, *teacher;
  const float *own_student, *own_teacher;
  Direction direction;
  bool own_positive;  // own pairs, where there are any
  const float* kappa;
  int64_t empty;  // has no loss
  Vector<float> loss;
  Matrix<float> statistics;

  __device__ void operator()(int64_t i) const {
    const OwnAndOthers of_student = direction.parts(i, own_student, student[i]),
                       of_teacher = direction.parts(i, own_teacher, teacher[i]);
    const double mean = teacher[i].cross / teacher[i].sum * kLn2;
    const float value = distillation_loss(of_student, of_teacher, mean, direction.others(i), own_positive,
                                          kappa ? kappa[i] : 0, statistics.row(i));
    loss.data[i] = direction.partners == 0 || i == empty ? 0 : value;
  }
};

}  // namespace

size_t distillation_workspace(const duet_context& context, const DistillationInputs& inputs) {
  if (distillation_is_small(context, inputs)) return small_distillation_workspace(inputs);
  Workspace measure;
  DistillationScratch(measure, context, inputs);
  return measure.used();
}

void distillation_forward(const duet_context& context, const DistillationInputs& in, const DistillationOutputs& out,
                          const duet_workspace& workspace) {
  if (distillation_is_small(context, in)) return small_distillation_forward(context, in, out);
  Workspace pieces(workspace);
  DistillationScratch scratch(pieces, context, in);
  const DistillationView view = scratch.prepare(context, in);
  const SweepSums &student = scratch.student_sums, &teacher = scratch.teacher_sums, &target = scratch.target_sums;
  const DistillationForward forward{
      view, student.partials(), teacher.partials(), target.partials(), scratch.own_student, scratch.own_teacher};
  with_precision(context.precision, [&](auto precision) {
    using Tile = DistillationTile<decltype(precision)::value>;
    if (!view.agreement.grouped)
      return sweep_forward<Tile>(context, scratch.n, scratch.m, kBlockRows, forward, {&student, &teacher, &target});
    sweep_forward<Tile>(context, scratch.n, scratch.m, kBlockRows, forward, {&student, &teacher});
    const auto sum_targets = [&](const auto& targets) {
      sweep_forward<Tile>(context, scratch.n, scratch.m, kBlockRows, targets, {&target});
    };
    if (view.agreement.annotated)
      sum_targets(DistillationTargets<true>{view, target.partials()});
    else
      sum_targets(DistillationTargets<false>{view, target.partials()});
  });
  const SweepSums* positives = view.agreement.has_others() ? &target : nullptr;
  const bool own_positive = in.has_agreement();  // classes of no column: own pairs are the only positives
  for_each_position(context, scratch.n,
                    FinishDistillation{student.rows(), teacher.rows(), scratch.own_student, scratch.own_teacher,
                                       row_direction(view.agreement, positives), own_positive, in.kappa_a.data,
                                       in.empty_row(), out.row_loss, out.row_statistics});
  for_each_position(context, scratch.m,
                    FinishDistillation{student.columns(), teacher.columns(), scratch.own_student, scratch.own_teacher,
                                       column_direction(view.agreement, positives), own_positive, in.kappa_v.data,
                                       in.empty_column(), out.column_loss, out.column_statistics});
}

}  // namespace duet::cuda
