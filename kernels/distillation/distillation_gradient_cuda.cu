// Plan of the backward pass, 4 products. A block owns a tile as in the forward pass and recomputes both its products;
// one pass over the registers makes d loss/d dot of them, two exponentials a pair where scores are bounded (four where
// not), with W formed for 8 pairs of a thread at a time, and stores the tile as G and as G^T, packed as operands.
// sweep.h multiplies a block of 4096 x 4096 of them (2 x 32 MB in bf16, in L2 in part) with v and a and adds to the
// gradients, one writer an element. d loss/d scale: a sum a tile, in place over the blocks, then one block over the
// tiles.
//
// One H200, bf16, n = m = 32768, d = 512: products of a tile 21,800 cycles of L2, epilogue about 1,700 instructions a
// warp, 5,600 cycles, 64 KB stored under it: 27,400 cycles, 7.8 ms; the two products with G at 390 TFLOP/s (sweep.h)
// 5.6 ms. With the forward pass' 6.9 ms 20.3 ms for 6 products, 6.6 TFLOP: 325 TFLOP/s, 0.41 of the 790 that a bare
// product reaches.
#include "kernels/distillation/distillation_cuda.h"

namespace duet::cuda {
namespace {

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
      sum = form_gradient<T, true, true>(view.agreement, weights, place, scale, teacher_factor, student, teacher);
    else
      sum = form_gradient<T, false, true>(view.agreement, weights, place, scale, teacher_factor, student, teacher);
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
  const DistillationGradientWeight of_rows{row_statistics, out.row_weight.data, in.kappa_a.data},
      of_columns{column_statistics, out.column_weight.data, in.kappa_v.data};
  store_gradient_weights(context, weights.rows, scratch.n, in.trust_a, view, of_rows);
  store_gradient_weights(context, weights.columns, scratch.m, in.trust_v, view, of_columns);
  store_own_gradients(context, weights, view.agreement, of_rows, of_columns);
  const DistillationGradient gradient{view, weights, scratch.products.block(), scratch.scale_sums.data()};
  with_precision(context.precision, [&](auto precision) {
    sweep_backward<DistillationTile<decltype(precision)::value>>(context, scratch.n, scratch.m, gradient,
                                                                 scratch.products, {{&scratch.scale_sums, out.scale}});
  });
}

}  // namespace duet::cuda
