// A block of threads owns a tile of pairs and walks along a row of tiles; a thread a row writes losses and statistics.
// Bytes: packed operands, (n + m) d words, from L2; what a tile says of a row and a column: 8, with classes 16.
// Products: one. PLAN.md has the figures.
#include "kernels/contrastive/contrastive_cuda.h"

namespace duet::cuda {
namespace {

template <bool kGroups, bool kAnnotated>
struct SoftmaxForward {
  static constexpr bool kAlone = true;
  ContrastiveView view;
  SweepPartials sums, of_positives;
  float* own;

  int steps() const { return view.scores.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values scores;
    T::multiply(loop, dots_of<T>(view.scores, place, true), dots_of<T>(view.scores, walk.place(tile + 1), true),
                scores);
    scale_dots<T>(view.scores.factor(), place, scores);
    const OwnPairs own_pair = own_pairs<T>(view.agreement, place);
    store_own_scores<T>(own_pair, place, scores, own);
    accumulate_exponentials<T, false>(loop.scratch(), place, view.scores.bounded(), scores, scores, sums);
    if (kGroups || view.agreement.groups > 0)
      accumulate_positives<T, false, kGroups, kAnnotated>(loop.scratch(), view.agreement, place, own_pair, scores,
                                                          of_positives);
  }
};

template <bool kRelated, bool kAnnotated>
struct SigmoidForward {
  static constexpr bool kAlone = true;
  ContrastiveView view;
  SumPartials rows;

  int steps() const { return view.scores.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    constexpr int kRows = kRelated ? kRowsOfGradient<T> : kRowsOfSums<T>;  // the groups take registers too
    typename T::Values dots;
    T::multiply(loop, dots_of<T>(view.scores, place, true), dots_of<T>(view.scores, walk.place(tile + 1), true), dots);
    const float scale = *view.scores.scale, bias = *view.bias;
    DUET_UNROLL
    for (int first = 0; first < T::kThreadRows; first += kRows) {
      float weights[kRows][T::kThreadColumns];
      fill_weights<T, kAnnotated>(view.agreement, place, first, weights);
      SigmoidPairs<T, kRelated, kRows> pairs(view, place, first);
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        pairs.at_column(c);
        DUET_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float& dot = dots(first + r, c);
          const float loss = Sigmoid(fmaf(dot, scale, bias)).loss(pairs.weight(r, c, weights[r][c]));
          dot = T::column(c) < place.columns && pairs.taken(r, c) ? loss : 0;
        }
      }
    }
    float of_row[T::kThreadRows] = {};  // only now, for the registers
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) of_row[r] += dots(r, c);
    }
    const float* totals = T::reduce_rows(T::template area<float>(loop.scratch(), kRowSumArea), of_row, Sum());
    const int k = static_cast<int>(threadIdx.x);
    if (k < place.rows) write_sum(rows, place.column_tile, place.block_row + k, make_float2(totals[k], 0), 0);
  }
};

// One direction's losses and statistics.
struct FinishSoftmax {
  const RunningSum* sums;
  const float* own;
  Direction direction;
  Vector<float> loss;
  Matrix<float> statistics;

  __device__ void operator()(int64_t i) const {
    loss.data[i] = softmax_loss(direction.parts(i, own, sums[i]), direction.others(i), statistics.row(i));
  }
};

struct FinishSigmoid {
  const RunningSum* sums;
  Vector<float> loss;

  __device__ void operator()(int64_t i) const { loss.data[i] = static_cast<float>(sums[i].sum); }
};

// forward over all tiles, in the context's precision.
template <class Forward>
void sweep(const duet_context& context, const ContrastiveScratch& scratch, const Forward& forward,
           std::initializer_list<const SweepSums*> sums) {
  with_precision(context.precision, [&](auto precision) {
    sweep_forward<ContrastiveTile<decltype(precision)::value>>(context, scratch.n, scratch.m, kBlockRows, forward,
                                                               sums);
  });
}

void softmax_forward(const duet_context& context, const ContrastiveView& view, const ContrastiveOutputs& out,
                     const ContrastiveScratch& scratch) {
  const SweepSums &sums = scratch.sums, &target = scratch.target_sums;
  with_items(view.agreement, [&](auto grouped, auto annotated) {
    const SoftmaxForward<decltype(grouped)::value, decltype(annotated)::value> forward{view, sums.partials(),
                                                                                       target.partials(), scratch.own};
    sweep(context, scratch, forward, {&sums, &target});
  });
  const SweepSums* positives = view.agreement.has_others() ? &target : nullptr;
  for_each_position(context, scratch.n,
                    FinishSoftmax{sums.rows(), scratch.own, row_direction(view.agreement, positives), out.row_loss,
                                  out.row_statistics});
  for_each_position(context, scratch.m,
                    FinishSoftmax{sums.columns(), scratch.own, column_direction(view.agreement, positives),
                                  out.column_loss, out.column_statistics});
}

}  // namespace

size_t contrastive_workspace(const duet_context& context, const ContrastiveInputs& inputs) {
  if (is_formula(inputs)) return relation_contrastive_workspace(context, inputs);
  if (contrastive_is_small(context, inputs)) return small_contrastive_workspace(inputs);
  Workspace measure;
  ContrastiveScratch(measure, context, inputs);
  return measure.used();
}

void contrastive_forward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveOutputs& out,
                         const duet_workspace& workspace) {
  if (is_formula(in)) return relation_contrastive_forward(context, in, out, workspace);
  if (contrastive_is_small(context, in)) return small_contrastive_forward(context, in, out);
  Workspace pieces(workspace);
  ContrastiveScratch scratch(pieces, context, in);
  const ContrastiveView view = scratch.prepare(context, in);
  if (!scratch.sigmoid) return softmax_forward(context, view, out, scratch);
  const SumPartials rows = scratch.sums.partials().rows;
  with_sigmoid_rows(view.agreement, scratch.numbered, [&](auto numbered, auto annotated) {
    sweep(context, scratch, SigmoidForward<decltype(numbered)::value, decltype(annotated)::value>{view, rows},
          {&scratch.sums});
  });
  for_each_position(context, scratch.n, FinishSigmoid{scratch.sums.rows(), out.row_loss});
}

}  // namespace duet::cuda
