// A block of threads owns a tile of pairs and turns it into d loss/d dot in its registers.
// Bytes: packed operands from L2; the tile twice, as G and G^T, in blocks of 4096 x 4096.
// Products: three, the scores and both with G. PLAN.md has the figures.
#include "kernels/contrastive/contrastive_cuda.h"

namespace duet::cuda {
namespace {

template <bool kGroups, bool kAnnotated>
struct SoftmaxGradient {
  ContrastiveView view;
  GradientWeightView weights;
  GradientBlock gradient;
  double* scale_sums;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    typename T::Values dots;
    fill_dots<T>(shared, view.scores, place, dots);
    const float scale = *view.scores.scale;
    const float sum =
        view.scores.bounded()
            ? form_gradient<T, true, false, kGroups, kAnnotated>(view.agreement, weights, place, scale, 0, dots, dots)
            : form_gradient<T, false, false, kGroups, kAnnotated>(view.agreement, weights, place, scale, 0, dots, dots);
    store_tile<T>(gradient, place, dots);
    add_tile_sum(scale_sums, sum);
  }
};

template <bool kRelated, bool kAnnotated>
struct SigmoidGradient {
  ContrastiveView view;
  const float* row_weight;
  GradientBlock gradient;
  double *scale_sums, *bias_sums;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    constexpr int kRows = kRowsOfSums<T>;
    typename T::Values dots;
    fill_dots<T>(shared, view.scores, place, dots);
    const float scale = *view.scores.scale, bias = *view.bias;
    float scale_sum = 0, bias_sum = 0;
    DUET_UNROLL
    for (int first = 0; first < T::kThreadRows; first += kRows) {
      float weights[kRows][T::kThreadColumns], of_row[kRows];
      fill_weights<T, kAnnotated>(view.agreement, place, first, weights);
      SigmoidPairs<T, kRelated, kRows> pairs(view, place, first);
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r)
        of_row[r] = T::row(first + r) < place.rows ? row_weight[place.first_row + T::row(first + r)] : 0;
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        pairs.at_column(c);
        DUET_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const float dot = dots(first + r, c), weight = pairs.weight(r, c, weights[r][c]);
          float g = of_row[r] * Sigmoid(fmaf(dot, scale, bias)).gradient(weight);
          // What has no weight takes no part, though x be NaN.
          if (T::row(first + r) >= place.rows || T::column(c) >= place.columns || of_row[r] == 0) g = 0;
          if (!pairs.taken(r, c)) g = 0;
          scale_sum = g == 0 ? scale_sum : fmaf(g, dot, scale_sum);
          bias_sum += g;
          dots(first + r, c) = g * scale;
        }
      }
    }
    store_tile<T>(gradient, place, dots);
    add_tile_sum(scale_sums, scale_sum);
    add_tile_sum(bias_sums, bias_sum);
  }
};

// gradient over all tiles, in the context's precision.
template <class Gradient>
void sweep(const duet_context& context, ContrastiveScratch& scratch, const Gradient& gradient,
           std::initializer_list<TileTotal> totals) {
  with_precision(context.precision, [&](auto precision) {
    sweep_backward<ContrastiveTile<decltype(precision)::value>>(context, scratch.n, scratch.m, gradient,
                                                                scratch.products, totals);
  });
}

}  // namespace

void contrastive_backward(const duet_context& context, const ContrastiveInputs& in, Matrix<const float> row_statistics,
                          Matrix<const float> column_statistics, const ContrastiveGradients& out,
                          const duet_workspace& workspace) {
  if (!out.row_weight && !out.column_weight) return;
  if (is_formula(in))
    return relation_contrastive_backward(context, in, row_statistics, column_statistics, out, workspace);
  if (contrastive_is_small(context, in))
    return small_contrastive_backward(context, in, row_statistics, column_statistics, out, workspace);
  Workspace pieces(workspace);
  ContrastiveScratch scratch(pieces, context, in);
  const ContrastiveView view = scratch.prepare(context, in);
  scratch.products.begin(context, in.a, nullptr, in.v, nullptr, out.a, out.v, nullptr, in.grad_factor_a.data,
                         in.grad_factor_v.data);
  const TileTotal scale{&scratch.scale_sums, out.scale}, bias{&scratch.bias_sums, out.bias};
  double *const scale_sums = scratch.scale_sums.data(), *const bias_sums = scratch.bias_sums.data();
  const GradientBlock block = scratch.products.block();
  if (scratch.sigmoid) {
    return with_sigmoid_rows(view.agreement, scratch.numbered, [&](auto numbered, auto annotated) {
      sweep(context, scratch,
            SigmoidGradient<decltype(numbered)::value, decltype(annotated)::value>{view, out.row_weight.data, block,
                                                                                   scale_sums, bias_sums},
            {scale, bias});
    });
  }
  const GradientWeightView weights = scratch.weights.view();
  const ContrastiveGradientWeight of_rows{row_statistics, out.row_weight},
      of_columns{column_statistics, out.column_weight};
  store_gradient_weights(context, weights.rows, scratch.n, in.trust_a, view.scores, of_rows);
  store_gradient_weights(context, weights.columns, scratch.m, in.trust_v, view.scores, of_columns);
  store_own_gradients(context, weights, view.agreement, of_rows, of_columns);
  with_items(view.agreement, [&](auto grouped, auto annotated) {
    sweep(context, scratch,
          SoftmaxGradient<decltype(grouped)::value, decltype(annotated)::value>{view, weights, block, scale_sums},
          {scale});
  });
}

}  // namespace duet::cuda
