// A block of threads owns a tile of pairs, student and teacher, and turns it into d loss/d dot in its registers.
// Bytes: packed operands from L2; the tile twice, as G and G^T, in blocks of 4096 x 4096.
// Products: four, two of scores and both with G. PLAN.md has the figures.
#include "kernels/distillation/distillation_cuda.h"

namespace duet::cuda {
namespace {

template <bool kGroups, bool kAnnotated>
struct DistillationGradient {
  DistillationView view;
  GradientWeightView weights;
  GradientBlock gradient;
  double* scale_sums;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    typename T::Values student, teacher;
    typename T::Loop loop{shared};
    const auto teacher_product = dots_of<T>(view.teacher, place);
    T::multiply(loop, dots_of<T>(view.student, place), teacher_product, student);
    T::multiply(loop, teacher_product, {}, teacher);
    const float scale = *view.student.scale, teacher_factor = view.teacher.factor();
    float sum;
    if (view.bounded())
      sum = form_gradient<T, true, true, kGroups, kAnnotated>(view.agreement, weights, place, scale, teacher_factor,
                                                              student, teacher);
    else
      sum = form_gradient<T, false, true, kGroups, kAnnotated>(view.agreement, weights, place, scale, teacher_factor,
                                                               student, teacher);
    store_tile<T>(gradient, place, student);
    add_tile_sum(scale_sums, sum);
  }
};

}  // namespace

void distillation_backward(const duet_context& context, const DistillationInputs& in,
                           Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                           const DistillationGradients& out, const duet_workspace& workspace) {
  if (!out.row_weight && !out.column_weight) return;
  if (distillation_is_small(context, in))
    return small_distillation_backward(context, in, row_statistics, column_statistics, out, workspace);
  Workspace pieces(workspace);
  DistillationScratch scratch(pieces, context, in);
  const DistillationView view = scratch.prepare(context, in);
  const GradientWeightView weights = scratch.weights.view();
  scratch.products.begin(context, in.student_a, nullptr, in.student_v, nullptr, out.a, out.v);
  const DistillationGradientWeight of_rows{row_statistics, out.row_weight.data, in.kappa_a.data, in.empty_row()},
      of_columns{column_statistics, out.column_weight.data, in.kappa_v.data, in.empty_column()};
  store_gradient_weights(context, weights.rows, scratch.n, in.trust_a, view, of_rows);
  store_gradient_weights(context, weights.columns, scratch.m, in.trust_v, view, of_columns);
  store_own_gradients(context, weights, view.agreement, of_rows, of_columns);
  with_items(view.agreement, [&](auto grouped, auto annotated) {
    const DistillationGradient<decltype(grouped)::value, decltype(annotated)::value> gradient{
        view, weights, scratch.products.block(), scratch.scale_sums.data()};
    with_precision(context.precision, [&](auto precision) {
      sweep_backward<DistillationTile<decltype(precision)::value>>(
          context, scratch.n, scratch.m, gradient, scratch.products, {{&scratch.scale_sums, out.scale}});
    });
  });
}

}  // namespace duet::cuda
