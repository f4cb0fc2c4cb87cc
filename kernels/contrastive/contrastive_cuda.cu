// Plan of the forward pass, 1 product. A block walks over tiles of 128 x 128 pairs, its rows kept (in fp32 and tf32x3 a
// tile of 128 x 64, two blocks an SM), and passes over a tile's dots once for the exponentials (or softplus) and once
// for the sums over positives; what it says of its rows and columns is merged as in distillation. InfoNCE has no second
// pass: the own score of a row is written by the tile that holds it. Tiles of 128 x 256 would leave too few registers
// for the sums: they spilled.
//
// One H200, bf16, n = m = 32768, d = 512, cycles of an SM a tile (figures of tiles.h): mma and barriers 7,200; L2 5,500
// beside it; epilogue about 600 instructions a warp, 2,000 at 0.6 a cycle and scheduler: 9,500 in all, 65,536 tiles in
// 16 x 32 rounds 2.8 ms, merges 0.15: 370 TFLOP/s.
// multi_positive: 1,700 instructions, 13,300 cycles, 4.1 ms. Sigmoid: 3 special functions and a division a pair, some
// 35 instructions, 15,000 cycles: 4.5 ms.
#include "kernels/contrastive/contrastive_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kFinishThreads = 128;

struct ForwardTile {
  ContrastiveView view;
  SumPartials rows, columns, target_rows, target_columns;
  float* own;
};

template <duet_precision P>
__global__ void __launch_bounds__(ContrastiveTile<P>::kThreads, ContrastiveTile<P>::kBlocks)
    softmax_kernel(ForwardTile to, Walk<ContrastiveTile<P>> walk) {
  using T = ContrastiveTile<P>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  typename T::Loop loop{shared, walk.kept_steps};
  for (int tile = walk.first(); tile < walk.end(); ++tile) {
    const TilePlace place = walk.place(tile);
    typename T::Values scores;
    T::multiply(loop, dots_of<T>(to.view.scores, place, true), dots_of<T>(to.view.scores, walk.place(tile + 1), true),
                scores);
    scale_dots<T>(to.view.scores.factor(), place, scores);
    const OwnPairs own_pair = own_pairs<T>(to.view.agreement, place);
    take_own_scores<T>(own_pair, place, scores, to.own);
    if (to.view.scores.bounded())
      take_exponentials<T, true, false>(loop.scratch(), place, scores, scores, to.rows, to.columns);
    else
      take_exponentials<T, false, false>(loop.scratch(), place, scores, scores, to.rows, to.columns);
    if (to.view.agreement.groups > 0)
      target_sums<T, false>(loop.scratch(), to.view.agreement, place, own_pair, scores, to.target_rows,
                            to.target_columns);
  }
}

template <duet_precision P>
__global__ void __launch_bounds__(ContrastiveTile<P>::kThreads, ContrastiveTile<P>::kBlocks)
    sigmoid_kernel(ContrastiveView view, SumPartials rows, Walk<ContrastiveTile<P>> walk) {
  using T = ContrastiveTile<P>;
  constexpr int kRows = kRowsOfPull<T>;
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  typename T::Loop loop{shared, walk.kept_steps};
  const float scale = *view.scores.scale, bias = *view.bias;
  for (int tile = walk.first(); tile < walk.end(); ++tile) {
    const TilePlace place = walk.place(tile);
    typename T::Values dots;
    T::multiply(loop, dots_of<T>(view.scores, place, true), dots_of<T>(view.scores, walk.place(tile + 1), true), dots);
    const OwnPairs own_pair = own_pairs<T>(view.agreement, place);
    float of_row[T::kThreadRows] = {};
    DUET_UNROLL
    for (int first = 0; first < T::kThreadRows; first += kRows) {
      float weights[kRows][T::kThreadColumns];
      fill_weights<T>(view.agreement, place, first, weights);
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        DUET_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const bool own = own_pair.any && own_pair(T::row(first + r), T::column(c));
          const float loss = Sigmoid(fmaf(dots(first + r, c), scale, bias)).loss(own ? 1 : weights[r][c]);
          of_row[first + r] += T::column(c) < place.columns ? loss : 0;
        }
      }
    }
    const float* totals = T::reduce_rows(T::template area<float>(loop.scratch(), kRowSumArea), of_row, Sum());
    const int k = static_cast<int>(threadIdx.x);
    if (k < place.rows) write_sum(rows, place.column_tile, place.block_row + k, make_float2(totals[k], 0), 0);
  }
}

// One direction's losses and statistics.
struct Finish {
  const RunningSum* sums;
  const float* own;
  Direction direction;
  Vector<float> loss;
  Matrix<float> statistics;
};

__global__ void __launch_bounds__(kFinishThreads) finish_softmax_kernel(Finish to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kFinishThreads + threadIdx.x;
  if (i >= to.loss.size) return;
  to.loss[i] = softmax_loss(to.direction.parts(i, to.own, to.sums[i]), to.direction.others(i), to.statistics.row(i));
}

__global__ void __launch_bounds__(kFinishThreads) finish_sigmoid_kernel(const RunningSum* sums, Vector<float> loss) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kFinishThreads + threadIdx.x;
  if (i < loss.size) loss.data[i] = static_cast<float>(sums[i].sum);
}

int64_t finish_blocks(Vector<float> loss) { return (loss.size + kFinishThreads - 1) / kFinishThreads; }

void softmax_forward(const duet_context& context, const ContrastiveView& view, const ContrastiveOutputs& out,
                     const ContrastiveScratch& scratch) {
  const PairSums* target = view.agreement.groups > 0 ? &scratch.target_sums : nullptr;
  const ForwardTile to{view,
                       scratch.sums.row_partials(),
                       scratch.sums.column_partials(),
                       scratch.target_sums.row_partials(),
                       scratch.target_sums.column_partials(),
                       scratch.own};
  if (target) target->begin(context);
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    using T = ContrastiveTile<kPrecision>;
    for_each_block(scratch.n, scratch.m, kBlockRows, kForwardColumns, [&](const Block& block) {
      const Walk<T> walk(context, block, view.scores.a.steps());
      DUET_LAUNCH(softmax_kernel<kPrecision>, walk.blocks(), T::kThreads, walk.shared_bytes(), context.stream)
      (to, walk);
      if (target)
        merge_sums(context, block, T::kColumns, {&scratch.sums, target});
      else
        merge_sums(context, block, T::kColumns, {&scratch.sums});
    });
  });
  const auto finish = [&](const Finish& side) {
    DUET_LAUNCH(finish_softmax_kernel, finish_blocks(side.loss), kFinishThreads, 0, context.stream)(side);
  };
  finish({scratch.sums.rows(), scratch.own, row_direction(view.agreement, target), out.row_loss, out.row_statistics});
  finish({scratch.sums.columns(), scratch.own, column_direction(view.agreement, target), out.column_loss,
          out.column_statistics});
}

void sigmoid_forward(const duet_context& context, const ContrastiveView& view, const ContrastiveOutputs& out,
                     const ContrastiveScratch& scratch) {
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    using T = ContrastiveTile<kPrecision>;
    for_each_block(scratch.n, scratch.m, kBlockRows, kForwardColumns, [&](const Block& block) {
      const Walk<T> walk(context, block, view.scores.a.steps());
      DUET_LAUNCH(sigmoid_kernel<kPrecision>, walk.blocks(), T::kThreads, walk.shared_bytes(), context.stream)
      (view, scratch.sums.row_partials(), walk);
      merge_sums(context, block, T::kColumns, {&scratch.sums});
    });
  });
  DUET_LAUNCH(finish_sigmoid_kernel, finish_blocks(out.row_loss), kFinishThreads, 0, context.stream)
  (scratch.sums.rows(), out.row_loss);
}

}  // namespace

size_t contrastive_workspace(const duet_context& context, const ContrastiveInputs& inputs) {
  if (contrastive_is_small(context, inputs)) return small_contrastive_workspace(inputs);
  Workspace measure;
  ContrastiveScratch(measure, context, inputs);
  return measure.used();
}

void contrastive_forward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveOutputs& out,
                         const duet_workspace& workspace) {
  if (contrastive_is_small(context, in)) return small_contrastive_forward(context, in, out);
  Workspace pieces(workspace);
  ContrastiveScratch scratch(pieces, context, in);
  const ContrastiveView view = scratch.prepare(context, in);
  scratch.sums.begin(context);
  if (scratch.sigmoid)
    sigmoid_forward(context, view, out, scratch);
  else
    softmax_forward(context, view, out, scratch);
}

}  // namespace duet::cuda
