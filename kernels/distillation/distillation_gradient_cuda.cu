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

struct GradientTile {
  DistillationView view;
  PullView pull;
  GradientBlock gradient;
  double* scale_sums;
};

template <duet_precision P>
__global__ void __launch_bounds__(DistillationTile<P>::kThreads, DistillationTile<P>::kBlocks)
    gradient_kernel(GradientTile to, Block block) {
  using T = DistillationTile<P>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  const TilePlace place = tile_of<T>(block, blockIdx.x);
  typename T::Values student, teacher;
  typename T::Loop loop{shared};
  const auto of_teacher = dots_of<T>(to.view.teacher, place);
  T::multiply(loop, dots_of<T>(to.view.student, place), of_teacher, student);
  T::multiply(loop, of_teacher, {}, teacher);
  const float scale = *to.view.student.scale, teacher_factor = to.view.teacher.factor();
  float sum;
  if (to.view.bounded())
    sum = pull_tile<T, true, true>(to.view.agreement, to.pull, place, scale, teacher_factor, student, teacher);
  else
    sum = pull_tile<T, false, true>(to.view.agreement, to.pull, place, scale, teacher_factor, student, teacher);
  take_tile<T>(to.gradient, place, student);
  add_tile_sum(to.scale_sums, sum);
}

}  // namespace

void distillation_backward(const duet_context& context, const DistillationInputs& in,
                           Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                           const DistillationGradients& out, const duet_workspace& workspace) {
  if (!out.row_weight && !out.column_weight) return;
  if (distillation_is_small(context, in))
    return small_distillation_backward(context, in, row_statistics, column_statistics, out, workspace);
  Workspace pieces(workspace);
  DistillationScratch scratch(pieces, context, in);
  GradientTile to{scratch.prepare(context, in), scratch.pulls.view(), {}, scratch.scale_sums.data()};
  scratch.products.begin(context, in.student_a, nullptr, in.student_v, nullptr, out.a, out.v);
  scratch.scale_sums.begin(context);
  to.gradient = scratch.products.block();
  const DistillationPullOf of_rows{row_statistics, out.row_weight.data, in.kappa_a.data},
      of_columns{column_statistics, out.column_weight.data, in.kappa_v.data};
  set_pulls(context, to.pull.rows, scratch.n, in.trust_a, to.view, of_rows);
  set_pulls(context, to.pull.columns, scratch.m, in.trust_v, to.view, of_columns);
  set_own(context, to.pull, to.view.agreement, of_rows, of_columns);
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    using T = DistillationTile<kPrecision>;
    for_each_block(scratch.n, scratch.m, kBlockRows, kBackwardColumns, [&](const Block& block) {
      DUET_LAUNCH(gradient_kernel<kPrecision>, tiles_of<T>(block), T::kThreads, T::kSharedBytes, context.stream)
      (to, block);
      scratch.products.add(context, block);
    });
  });
  if (out.scale) scratch.scale_sums.add_to(context, out.scale.data);
}

}  // namespace duet::cuda
