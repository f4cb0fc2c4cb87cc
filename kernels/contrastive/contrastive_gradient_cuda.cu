// Plan of the backward pass, 3 products: a tile of 128 x 128 (x 64 in fp32 and tf32x3) is recomputed, turned into d
// loss/d dot in its registers and stored as G and G^T for the two products of sweep.h; d loss/d scale and d loss/d bias
// are a sum a tile each, added in a fixed order in the end.
//
// One H200, bf16, n = m = 32768, d = 512, cycles of an SM a tile: L2 10,900, epilogue about 1,300 instructions a warp,
// 4,300: 15,200 cycles, 65,536 tiles in 4.3 ms; the products with G at 390 TFLOP/s 5.6 ms.
#include "kernels/contrastive/contrastive_cuda.h"

namespace duet::cuda {
namespace {

struct GradientTile {
  ContrastiveView view;
  PullView pull;            // softmax
  const float* row_weight;  // sigmoid
  GradientBlock gradient;
  double *scale_sums, *bias_sums;
};

template <duet_precision P>
__global__ void __launch_bounds__(ContrastiveTile<P>::kThreads, ContrastiveTile<P>::kBlocks)
    softmax_gradient_kernel(GradientTile to, Block block) {
  using T = ContrastiveTile<P>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  const TilePlace place = tile_of<T>(block, blockIdx.x);
  typename T::Values dots;
  fill_dots<T>(shared, to.view.scores, place, dots);
  const float scale = *to.view.scores.scale;
  const float sum = to.view.scores.bounded()
                        ? pull_tile<T, true, false>(to.view.agreement, to.pull, place, scale, 0, dots, dots)
                        : pull_tile<T, false, false>(to.view.agreement, to.pull, place, scale, 0, dots, dots);
  take_tile<T>(to.gradient, place, dots);
  add_tile_sum(to.scale_sums, sum);
}

template <duet_precision P>
__global__ void __launch_bounds__(ContrastiveTile<P>::kThreads, ContrastiveTile<P>::kBlocks)
    sigmoid_gradient_kernel(GradientTile to, Block block) {
  using T = ContrastiveTile<P>;
  constexpr int kRows = kRowsOfSums<T>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  const TilePlace place = tile_of<T>(block, blockIdx.x);
  typename T::Values dots;
  fill_dots<T>(shared, to.view.scores, place, dots);
  const OwnPairs own_pair = own_pairs<T>(to.view.agreement, place);
  const float scale = *to.view.scores.scale, bias = *to.view.bias;
  float scale_sum = 0, bias_sum = 0;
  DUET_UNROLL
  for (int first = 0; first < T::kThreadRows; first += kRows) {
    float weights[kRows][T::kThreadColumns], row_weight[kRows];
    fill_weights<T>(to.view.agreement, place, first, weights);
    DUET_UNROLL
    for (int r = 0; r < kRows; ++r)
      row_weight[r] = T::row(first + r) < place.rows ? to.row_weight[place.first_row + T::row(first + r)] : 0;
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const bool own = own_pair.any && own_pair(T::row(first + r), T::column(c));
        const float dot = dots(first + r, c);
        float g = row_weight[r] * Sigmoid(fmaf(dot, scale, bias)).gradient(own ? 1 : weights[r][c]);
        // What has no weight takes no part, though x be NaN.
        if (T::row(first + r) >= place.rows || T::column(c) >= place.columns || row_weight[r] == 0) g = 0;
        scale_sum = g == 0 ? scale_sum : fmaf(g, dot, scale_sum);
        bias_sum += g;
        dots(first + r, c) = g * scale;
      }
    }
  }
  take_tile<T>(to.gradient, place, dots);
  const double2 total = block_reduce(make_double2(scale_sum, bias_sum),
                                     [](double2 a, double2 b) { return make_double2(a.x + b.x, a.y + b.y); });
  if (threadIdx.x > 0) return;
  to.scale_sums[blockIdx.x] += total.x;
  to.bias_sums[blockIdx.x] += total.y;
}

}  // namespace

void contrastive_backward(const duet_context& context, const ContrastiveInputs& in, Matrix<const float> row_statistics,
                          Matrix<const float> column_statistics, const ContrastiveGradients& out,
                          const duet_workspace& workspace) {
  if (!out.row_weight && !out.column_weight) return;
  if (contrastive_is_small(context, in))
    return small_contrastive_backward(context, in, row_statistics, column_statistics, out, workspace);
  Workspace pieces(workspace);
  ContrastiveScratch scratch(pieces, context, in);
  GradientTile to{scratch.prepare(context, in), scratch.pulls.view(),    out.row_weight.data, {},
                  scratch.scale_sums.data(),    scratch.bias_sums.data()};
  scratch.products.begin(context, in.a, nullptr, in.v, nullptr, out.a, out.v, nullptr, in.grad_factor_a.data,
                         in.grad_factor_v.data);
  scratch.scale_sums.begin(context);
  scratch.bias_sums.begin(context);
  to.gradient = scratch.products.block();
  if (!scratch.sigmoid) {
    const ContrastivePullOf of_rows{row_statistics, out.row_weight}, of_columns{column_statistics, out.column_weight};
    set_pulls(context, to.pull.rows, scratch.n, in.trust_a, to.view.scores, of_rows);
    set_pulls(context, to.pull.columns, scratch.m, in.trust_v, to.view.scores, of_columns);
    set_own(context, to.pull, to.view.agreement, of_rows, of_columns);
  }
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    using T = ContrastiveTile<kPrecision>;
    for_each_block(scratch.n, scratch.m, kBlockRows, kBackwardColumns, [&](const Block& block) {
      if (scratch.sigmoid)
        DUET_LAUNCH(sigmoid_gradient_kernel<kPrecision>, tiles_of<T>(block), T::kThreads, T::kSharedBytes,
                    context.stream)
      (to, block);
      else DUET_LAUNCH(softmax_gradient_kernel<kPrecision>, tiles_of<T>(block), T::kThreads, T::kSharedBytes,
                       context.stream)(to, block);
      scratch.products.add(context, block);
    });
  });
  if (out.scale) scratch.scale_sums.add_to(context, out.scale.data);
  if (out.bias) scratch.bias_sums.add_to(context, out.bias.data);
}

}  // namespace duet::cuda
