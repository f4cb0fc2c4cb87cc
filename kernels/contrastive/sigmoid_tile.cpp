#include "kernels/contrastive/sigmoid_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/contrastive/sigmoid_tile.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

void sigmoid_sums_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                         float* row_sum) {
  const auto factor = hn::Set(kTag, scale), offset = hn::Set(kTag, bias), zero = hn::Zero(kTag),
             one = hn::Set(kTag, 1.0f);
  for (int64_t i = 0; i < dots.rows; ++i) {
    auto sum = zero;
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto x = hn::MulAdd(hn::LoadU(kTag, dots.row(i) + j), factor, offset), below = hn::Neg(hn::Abs(x));
      const auto w = hn::LoadU(kTag, weights.row(i) + j);
      // softplus(+-x) = max(+-x, 0) + log(1 + e^-|x|), of which the side with the wrong sign has the first term
      const auto wrong = hn::IfThenElse(hn::Lt(x, zero), w, hn::Sub(one, w));
      sum = hn::Add(sum,
                    counted(hn::NegMulAdd(wrong, below, log_1_plus(kTag, exp(kTag, below))), dots.columns - j, last));
    });
    row_sum[i] = sum_of_lanes(kTag, sum);
  }
}

double sigmoid_gradient_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights,
                               const float* row_weight, Matrix<float> gradient) {
  const auto factor = hn::Set(kTag, scale), offset = hn::Set(kTag, bias), zero = hn::Zero(kTag),
             one = hn::Set(kTag, 1.0f);
  double total = 0;
  for (int64_t i = 0; i < dots.rows; ++i) {
    const auto weight = hn::Set(kTag, row_weight[i]);
    auto sum = zero;
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto x = hn::MulAdd(hn::LoadU(kTag, dots.row(i) + j), factor, offset);
      const auto e = exp(kTag, hn::Neg(hn::Abs(x)));
      // (1 - W) sigmoid(x) - W sigmoid(-x), of which one is e / (1 + e) and the other 1 / (1 + e): no 1 - sigmoid
      const auto w = hn::LoadU(kTag, weights.row(i) + j), rest = hn::Sub(one, w);
      const auto below = hn::Lt(x, zero);
      const auto sides = hn::IfThenElse(below, hn::MulSub(rest, e, w), hn::NegMulAdd(w, e, rest));
      auto g = hn::Mul(weight, hn::Div(sides, hn::Add(one, e)));
      g = hn::IfThenZeroElse(hn::Eq(weight, zero), g);  // takes no part, though x be NaN
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
