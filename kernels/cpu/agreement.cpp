#include "kernels/cpu/agreement.h"

#include "kernels/cpu/softmax_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/agreement.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

template <Entropy kEntropy, OneItems kOneItems>
void sums(Matrix<const float> weights, Matrix<const float> dots, float scale, Trust row_trust, Trust column_trust,
          TargetSums rows, TargetSums columns) {
  constexpr bool kItems = kOneItems == OneItems::yes;
  const auto factor = hn::Set(kTag, scale), zero = hn::Zero(kTag), one = hn::Set(kTag, 1),
             item = hn::Set(kTag, kOneItem);
  fill(columns.weight, padded(dots.columns), 0);
  fill(columns.cross, padded(dots.columns), 0);
  for (int64_t i = 0; i < dots.rows; ++i) {
    const float *w_row = weights.row(i), *dot_row = dots.row(i);
    const auto t_i = hn::Set(kTag, row_trust.value[i]), t_log_i = hn::Set(kTag, row_trust.value_log[i]);
    auto weight_sum = zero, cross_sum = zero;
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      auto w = counted(hn::LoadU(kTag, w_row + j), dots.columns - j, last);
      const auto same = hn::Eq(w, item);
      if constexpr (kItems) w = hn::IfThenElse(same, one, w);
      // Of one item: what is said whatever the trust.
      const auto unless_same = [&](auto trust, auto of_item)
                                   HWY_ATTR { return kItems ? hn::IfThenElse(same, of_item, trust) : trust; };
      const auto s = hn::Mul(hn::LoadU(kTag, dot_row + j), factor);
      auto u = hn::Neg(s);
      if constexpr (kEntropy == Entropy::yes) u = hn::Add(u, hn::IfThenZeroElse(hn::Eq(w, zero), log(kTag, w)));
      u = counted(hn::Mul(w, u), dots.columns - j, last);  // what lies past the end may be NaN, and 0 NaN is NaN
      const auto t_j = unless_same(hn::LoadU(kTag, column_trust.value + j), one), t_of_row = unless_same(t_i, one);
      auto row_cross = hn::Mul(t_j, u), column_cross = hn::MulAdd(t_of_row, u, hn::LoadU(kTag, columns.cross + j));
      if constexpr (kEntropy == Entropy::yes) {
        row_cross = hn::MulAdd(unless_same(hn::LoadU(kTag, column_trust.value_log + j), zero), w, row_cross);
        column_cross = hn::MulAdd(unless_same(t_log_i, zero), w, column_cross);
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
      hn::StoreU(hn::MulAdd(t_of_row, w, hn::LoadU(kTag, columns.weight + j)), kTag, columns.weight + j);
      hn::StoreU(column_cross, kTag, columns.cross + j);
    });
    rows.weight[i] = sum_of_lanes(kTag, weight_sum);
    rows.cross[i] = sum_of_lanes(kTag, cross_sum);
  }
}

template <OneItems kOneItems>
void subtract(Matrix<const float> weights, Trust row_trust, Trust column_trust, const float* row_factor,
              const float* column_factor, Matrix<float> gradient) {
  for (int64_t i = 0; i < weights.rows; ++i) {
    const auto factor_i = hn::Set(kTag, row_factor[i]), t_i = hn::Set(kTag, row_trust.value[i]);
    float* to = gradient.row(i);
    for_each_vector(weights.columns, [&](int64_t j, auto) HWY_ATTR {
      const auto factor_j = hn::LoadU(kTag, column_factor + j);
      auto w = hn::LoadU(kTag, weights.row(i) + j);
      auto factor = hn::MulAdd(factor_j, t_i, hn::Mul(factor_i, hn::LoadU(kTag, column_trust.value + j)));
      if constexpr (kOneItems == OneItems::yes) {
        const auto same = hn::Eq(w, hn::Set(kTag, kOneItem));
        w = hn::IfThenElse(same, hn::Set(kTag, 1), w);
        factor = hn::IfThenElse(same, hn::Add(factor_i, factor_j), factor);
      }
      hn::StoreU(hn::NegMulAdd(w, factor, hn::LoadU(kTag, to + j)), kTag, to + j);
    });
  }
}

}  // namespace

void target_sums_target(Matrix<const float> weights, OneItems one_items, Matrix<const float> dots, float scale,
                        Entropy entropy, Trust row_trust, Trust column_trust, TargetSums rows, TargetSums columns) {
  const auto add = [&](auto function) { function(weights, dots, scale, row_trust, column_trust, rows, columns); };
  if (one_items == OneItems::yes)
    add(entropy == Entropy::yes ? sums<Entropy::yes, OneItems::yes> : sums<Entropy::no, OneItems::yes>);
  else
    add(entropy == Entropy::yes ? sums<Entropy::yes, OneItems::no> : sums<Entropy::no, OneItems::no>);
}

void target_gradient_target(Matrix<const float> weights, OneItems one_items, Trust row_trust, Trust column_trust,
                            const float* row_factor, const float* column_factor, Matrix<float> gradient) {
  if (one_items == OneItems::yes)
    subtract<OneItems::yes>(weights, row_trust, column_trust, row_factor, column_factor, gradient);
  else
    subtract<OneItems::no>(weights, row_trust, column_trust, row_factor, column_factor, gradient);
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
  for (int64_t i = 0; agreement.annotated && i < tile.rows; ++i)
    for (int64_t j = 0; j < tile.columns; ++j)
      if (agreement.annotated.both(tile.first_row + i, tile.first_column + j))
        weights.row(i)[j] = weight_of_annotated(weights.row(i)[j]);
  for (int64_t i = 0; agreement.has_groups() && i < tile.rows; ++i) {
    const int32_t group = agreement.group_a[tile.first_row + i];
    float* const w = weights.row(i);
    for (int64_t j = 0; group >= 0 && j < tile.columns; ++j)
      w[j] = agreement.group_v[tile.first_column + j] == group ? kOneItem : w[j];
  }
  for_each_own_pair(agreement, tile, [&](int64_t r, int64_t c) { weights.row(r)[c] = 0; });
}

void target_sums(Matrix<const float> weights, OneItems one_items, Matrix<const float> dots, float scale,
                 Entropy entropy, Trust row_trust, Trust column_trust, TargetSums rows, TargetSums columns) {
  HWY_DYNAMIC_DISPATCH(target_sums_target)
  (weights, one_items, dots, scale, entropy, row_trust, column_trust, rows, columns);
}

void target_gradient(Matrix<const float> weights, OneItems one_items, Trust row_trust, Trust column_trust,
                     const float* row_factor, const float* column_factor, Matrix<float> gradient) {
  HWY_DYNAMIC_DISPATCH(target_gradient_target)
  (weights, one_items, row_trust, column_trust, row_factor, column_factor, gradient);
}

}  // namespace duet::cpu
#endif
