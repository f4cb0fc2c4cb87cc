#include "kernels/cpu/agreement.h"

#include "kernels/cpu/softmax_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/agreement.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

template <Entropy kEntropy>
void sums(Matrix<const float> weights, Matrix<const float> dots, float scale, Trust row_trust, Trust column_trust,
          TargetSums rows, TargetSums columns) {
  const auto factor = hn::Set(kTag, scale), zero = hn::Zero(kTag);
  fill(columns.weight, padded(dots.columns), 0);
  fill(columns.cross, padded(dots.columns), 0);
  for (int64_t i = 0; i < dots.rows; ++i) {
    const float *w_row = weights.row(i), *dot_row = dots.row(i);
    const auto t_i = hn::Set(kTag, row_trust.value[i]), t_log_i = hn::Set(kTag, row_trust.value_log[i]);
    auto weight_sum = zero, cross_sum = zero;
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto w = counted(hn::LoadU(kTag, w_row + j), dots.columns - j, last);
      const auto s = hn::Mul(hn::LoadU(kTag, dot_row + j), factor);
      auto u = hn::Neg(s);
      if constexpr (kEntropy == Entropy::yes) u = hn::Add(u, hn::IfThenZeroElse(hn::Eq(w, zero), log(kTag, w)));
      u = counted(hn::Mul(w, u), dots.columns - j, last);  // what lies past the end may be NaN, and 0 NaN is NaN
      const auto t_j = hn::LoadU(kTag, column_trust.value + j);
      auto row_cross = hn::Mul(t_j, u), column_cross = hn::MulAdd(t_i, u, hn::LoadU(kTag, columns.cross + j));
      if constexpr (kEntropy == Entropy::yes) {
        row_cross = hn::MulAdd(hn::LoadU(kTag, column_trust.value_log + j), w, row_cross);
        column_cross = hn::MulAdd(t_log_i, w, column_cross);
      }
      // Fused by name: left to the compiler, whether a product and its sum are rounded apart follows from what stands
      // around them.
      if constexpr (decltype(last)::value) {
        weight_sum = hn::Add(weight_sum, counted(hn::Mul(t_j, w), dots.columns - j, last));
        cross_sum = hn::Add(cross_sum, counted(row_cross, dots.columns - j, last));
      } else {
        weight_sum = hn::MulAdd(t_j, w, weight_sum);
        cross_sum = kEntropy == Entropy::yes ? hn::Add(cross_sum, row_cross) : hn::MulAdd(t_j, u, cross_sum);
      }
      hn::StoreU(hn::MulAdd(t_i, w, hn::LoadU(kTag, columns.weight + j)), kTag, columns.weight + j);
      hn::StoreU(column_cross, kTag, columns.cross + j);
    });
    rows.weight[i] = sum_of_lanes(kTag, weight_sum);
    rows.cross[i] = sum_of_lanes(kTag, cross_sum);
  }
}

}  // namespace

void target_sums_target(Matrix<const float> weights, Matrix<const float> dots, float scale, Entropy entropy,
                        Trust row_trust, Trust column_trust, TargetSums rows, TargetSums columns) {
  if (entropy == Entropy::yes)
    sums<Entropy::yes>(weights, dots, scale, row_trust, column_trust, rows, columns);
  else
    sums<Entropy::no>(weights, dots, scale, row_trust, column_trust, rows, columns);
}

void target_gradient_target(Matrix<const float> weights, Trust row_trust, Trust column_trust, const float* row_pull,
                            const float* column_pull, Matrix<float> gradient) {
  for (int64_t i = 0; i < weights.rows; ++i) {
    const auto pull_i = hn::Set(kTag, row_pull[i]), t_i = hn::Set(kTag, row_trust.value[i]);
    float* to = gradient.row(i);
    for_each_vector(weights.columns, [&](int64_t j, auto) HWY_ATTR {
      const auto pull =
          hn::MulAdd(hn::LoadU(kTag, column_pull + j), t_i, hn::Mul(pull_i, hn::LoadU(kTag, column_trust.value + j)));
      hn::StoreU(hn::NegMulAdd(hn::LoadU(kTag, weights.row(i) + j), pull, hn::LoadU(kTag, to + j)), kTag, to + j);
    });
  }
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(target_sums_target);
HWY_EXPORT(target_gradient_target);

void agreement_tile(const Agreement& agreement, const PackedRows& class_v, const Tile& tile, Matrix<float> weights) {
  if (agreement.class_a && class_v.data)
    tile_product(agreement.class_a.part(tile.first_row, 0, tile.rows, agreement.class_a.columns), class_v,
                 tile.first_column, weights);
  else
    for (int64_t i = 0; i < tile.rows; ++i) std::fill_n(weights.row(i), tile.columns, 0.0f);
  for_each_own_pair(agreement, tile, [&](int64_t r, int64_t c) { weights.row(r)[c] = 0; });
}

void target_sums(Matrix<const float> weights, Matrix<const float> dots, float scale, Entropy entropy, Trust row_trust,
                 Trust column_trust, TargetSums rows, TargetSums columns) {
  HWY_DYNAMIC_DISPATCH(target_sums_target)(weights, dots, scale, entropy, row_trust, column_trust, rows, columns);
}

void target_gradient(Matrix<const float> weights, Trust row_trust, Trust column_trust, const float* row_pull,
                     const float* column_pull, Matrix<float> gradient) {
  HWY_DYNAMIC_DISPATCH(target_gradient_target)(weights, row_trust, column_trust, row_pull, column_pull, gradient);
}

}  // namespace duet::cpu
#endif
