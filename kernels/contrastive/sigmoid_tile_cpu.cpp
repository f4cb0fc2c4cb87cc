#include "kernels/contrastive/sigmoid_tile_cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/contrastive/sigmoid_tile_cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels/contrastive/sigmoid_formula.h"
#include "kernels/pairs/formula_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

// What a row's pairs weigh, a vector of columns at a time: given(j, value) is value(W), 0 where a pair takes no part.
struct GivenWeights {
  Matrix<const float> weights;

  struct Row {
    const float* weights;

    template <class Value>
    HWY_INLINE Lanes of(int64_t j, Value&& value) const {
      return value(Lanes(hn::LoadU(kTag, weights + j)));
    }
  };
  HWY_INLINE Row row(int64_t r) const { return {weights.row(r)}; }
};

struct RelatedWeights {
  const PairTile& tile;
  Matrix<const float> weights;

  struct Row {
    PairRow pairs;
    const float* weights;

    template <class Value>
    HWY_INLINE Lanes of(int64_t j, Value&& value) const {
      const Pair<Lanes> pair = pairs.pair(j);
      const Lanes weight = select(pair.positive, Lanes(1.0f), Lanes(hn::LoadU(kTag, weights + j)));
      return select(pair.positive + pair.negative, value(weight), Lanes(0.0f));
    }
  };
  HWY_INLINE Row row(int64_t r) const { return {PairRow(tile, r), weights.row(r)}; }
};

template <class Weights>
HWY_INLINE void sum_losses(Matrix<const float> dots, float scale, float bias, const Weights& weights, float* row_sum) {
  const Lanes factor(scale), offset(bias);
  for (int64_t i = 0; i < dots.rows; ++i) {
    const auto of_row = weights.row(i);
    auto sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const Lanes x = mul_add(Lanes(hn::LoadU(kTag, dots.row(i) + j)), factor, offset);
      const Lanes loss = of_row.of(j, [&](Lanes w) HWY_ATTR { return sigmoid_pair_loss(x, decay_of(x), w); });
      sum = hn::Add(sum, counted(loss.v, dots.columns - j, last));
    });
    row_sum[i] = sum_of_lanes(kTag, sum);
  }
}

template <class Weights>
HWY_INLINE double form_gradient(Matrix<const float> dots, float scale, float bias, const Weights& weights,
                                const float* row_weight, Matrix<float> gradient) {
  const Lanes factor(scale), offset(bias);
  double total = 0;
  for (int64_t i = 0; i < dots.rows; ++i) {
    const auto of_row = weights.row(i);
    const Lanes weight(row_weight[i]);
    auto sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const Lanes x = mul_add(Lanes(hn::LoadU(kTag, dots.row(i) + j)), factor, offset);
      // Of weight 0 nothing, though x be NaN.
      const auto g =
          of_row.of(j, [&](Lanes w) HWY_ATTR { return product_or_zero(weight, sigmoid_pair_slope(x, decay_of(x), w)); })
              .v;
      hn::StoreU(g, kTag, gradient.row(i) + j);
      sum = hn::Add(sum, counted(g, dots.columns - j, last));
    });
    total += sum_of_lanes(kTag, sum);
  }
  return total;
}

void sigmoid_sums_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                         float* row_sum) {
  sum_losses(dots, scale, bias, GivenWeights{weights}, row_sum);
}

double sigmoid_gradient_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                               const float* row_weight, Matrix<float> gradient) {
  return form_gradient(dots, scale, bias, GivenWeights{weights}, row_weight, gradient);
}

void related_sigmoid_sums_target(const PairTile& tile, float bias, Matrix<const float> weights, float* row_sum) {
  sum_losses(tile.dots, tile.scale, bias, RelatedWeights{tile, weights}, row_sum);
}

double related_sigmoid_gradient_target(const PairTile& tile, float bias, Matrix<const float> weights,
                                       const float* row_weight, Matrix<float> gradient) {
  return form_gradient(tile.dots, tile.scale, bias, RelatedWeights{tile, weights}, row_weight, gradient);
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(sigmoid_sums_target);
HWY_EXPORT(sigmoid_gradient_target);
HWY_EXPORT(related_sigmoid_sums_target);
HWY_EXPORT(related_sigmoid_gradient_target);

void sigmoid_sums(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, float* row_sum) {
  HWY_DYNAMIC_DISPATCH(sigmoid_sums_target)(dots, scale, bias, weights, row_sum);
}

double sigmoid_gradient(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                        const float* row_weight, Matrix<float> gradient) {
  return HWY_DYNAMIC_DISPATCH(sigmoid_gradient_target)(dots, scale, bias, weights, row_weight, gradient);
}

void related_sigmoid_sums(const PairTile& tile, float bias, Matrix<const float> weights, float* row_sum) {
  HWY_DYNAMIC_DISPATCH(related_sigmoid_sums_target)(tile, bias, weights, row_sum);
}

double related_sigmoid_gradient(const PairTile& tile, float bias, Matrix<const float> weights, const float* row_weight,
                                Matrix<float> gradient) {
  return HWY_DYNAMIC_DISPATCH(related_sigmoid_gradient_target)(tile, bias, weights, row_weight, gradient);
}

}  // namespace duet::cpu
#endif
