#include "kernels/contrastive/sigmoid_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/contrastive/sigmoid_tile.cpp"
#include <hwy/foreach_target.h>

#include "kernels/contrastive/sigmoid_formula.h"
#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

void sigmoid_sums_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                         float* row_sum) {
  const Lanes factor(scale), offset(bias);
  for (int64_t i = 0; i < dots.rows; ++i) {
    auto sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const Lanes x = mul_add(Lanes(hn::LoadU(kTag, dots.row(i) + j)), factor, offset);
      const Lanes loss = sigmoid_pair_loss(x, decay_of(x), Lanes(hn::LoadU(kTag, weights.row(i) + j)));
      sum = hn::Add(sum, counted(loss.v, dots.columns - j, last));
    });
    row_sum[i] = sum_of_lanes(kTag, sum);
  }
}

double sigmoid_gradient_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                               const float* row_weight, Matrix<float> gradient) {
  const Lanes factor(scale), offset(bias);
  double total = 0;
  for (int64_t i = 0; i < dots.rows; ++i) {
    const Lanes weight(row_weight[i]);
    auto sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const Lanes x = mul_add(Lanes(hn::LoadU(kTag, dots.row(i) + j)), factor, offset);
      const Lanes slope = sigmoid_pair_slope(x, decay_of(x), Lanes(hn::LoadU(kTag, weights.row(i) + j)));
      const auto g = product_or_zero(weight, slope).v;  // of weight 0 nothing, though x be NaN
      hn::StoreU(g, kTag, gradient.row(i) + j);
      sum = hn::Add(sum, counted(g, dots.columns - j, last));
    });
    total += sum_of_lanes(kTag, sum);
  }
  return total;
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(sigmoid_sums_target);
HWY_EXPORT(sigmoid_gradient_target);

void sigmoid_sums(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, float* row_sum) {
  HWY_DYNAMIC_DISPATCH(sigmoid_sums_target)(dots, scale, bias, weights, row_sum);
}

double sigmoid_gradient(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                        const float* row_weight, Matrix<float> gradient) {
  return HWY_DYNAMIC_DISPATCH(sigmoid_gradient_target)(dots, scale, bias, weights, row_weight, gradient);
}

}  // namespace duet::cpu
#endif
