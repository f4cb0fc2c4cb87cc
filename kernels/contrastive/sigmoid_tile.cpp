#include "kernels/contrastive/sigmoid_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/contrastive/sigmoid_tile.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

void sigmoid_sums_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, float* row_sum) {
  const auto factor = hn::Set(kTag, scale), offset = hn::Set(kTag, bias), zero = hn::Zero(kTag);
  for (int64_t i = 0; i < dots.rows; ++i) {
    auto sum = zero;
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto x = hn::MulAdd(hn::LoadU(kTag, dots.row(i) + j), factor, offset);
      const auto w = hn::LoadU(kTag, weights.row(i) + j);
      // softplus(x) - W x = (max(x, 0) - W x) + log(1 + e^-|x|): exact where W = 1 and x is large
      const auto linear = hn::NegMulAdd(w, x, max_or_nan(x, zero));
      sum = hn::Add(sum, counted(hn::Add(linear, log_1_plus(kTag, exp(kTag, hn::Neg(hn::Abs(x))))), dots.columns - j, last));
    });
    row_sum[i] = sum_of_lanes(kTag, sum);
  }
}

double sigmoid_gradient_target(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, const float* row_weight,
                               Matrix<float> gradient) {
  const auto factor = hn::Set(kTag, scale), offset = hn::Set(kTag, bias), one = hn::Set(kTag, 1.0f);
  double total = 0;
  for (int64_t i = 0; i < dots.rows; ++i) {
    const auto weight = hn::Set(kTag, row_weight[i]);
    auto sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto x = hn::MulAdd(hn::LoadU(kTag, dots.row(i) + j), factor, offset);
      const auto e = exp(kTag, hn::Neg(hn::Abs(x)));
      const auto sigmoid = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(kTag)), e, one), hn::Add(one, e));
      const auto g = hn::Mul(weight, hn::Sub(sigmoid, hn::LoadU(kTag, weights.row(i) + j)));
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

double sigmoid_gradient(Matrix<const float> dots, float scale, float bias, Matrix<const float> weights, const float* row_weight,
                        Matrix<float> gradient) {
  return HWY_DYNAMIC_DISPATCH(sigmoid_gradient_target)(dots, scale, bias, weights, row_weight, gradient);
}

}  // namespace duet::cpu
#endif
