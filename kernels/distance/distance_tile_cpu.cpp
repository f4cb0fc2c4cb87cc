#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distance/distance_tile_cpu.cpp"
#include "kernels/distance/distance_tile_cpu.h"

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// In float64: the expansion of a squared distance is as accurate as its norms are.
double squared_norm(const float* x, int64_t d) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  auto even = hn::Zero(wide), odd = hn::Zero(wide);
  int64_t k = 0;
  for (; k + 2 * lanes <= d; k += 2 * lanes) {
    const auto a = hn::PromoteTo(wide, hn::LoadU(narrow, x + k)),
               b = hn::PromoteTo(wide, hn::LoadU(narrow, x + k + lanes));
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  double sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(even, odd)));
  for (; k < d; ++k) sum += double{x[k]} * x[k];
  return sum;
}

// sum_k (factor_x x_k - factor_y y_k)^2
double squared_difference_of(const float* x, double factor_x, const float* y, double factor_y, int64_t d) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  const auto at_x = hn::Set(wide, factor_x), at_y = hn::Set(wide, factor_y);
  const auto difference = [&](int64_t k) HWY_ATTR {
    return hn::Sub(hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, x + k)), at_x),
                   hn::Mul(hn::PromoteTo(wide, hn::LoadU(narrow, y + k)), at_y));
  };
  auto even = hn::Zero(wide), odd = hn::Zero(wide);
  int64_t k = 0;
  for (; k + 2 * lanes <= d; k += 2 * lanes) {
    const auto a = difference(k), b = difference(k + lanes);
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  double sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(even, odd)));
  for (; k < d; ++k) {
    const double a = x[k] * factor_x - y[k] * factor_y;
    sum += a * a;
  }
  return sum;
}

// A pair that the product cannot tell: too close, outside float32's range on the way, or NaN.
float direct_distance(duet_metric metric, const DistanceRows& rows, int64_t i, int64_t j) {
  const bool cosine = metric == DUET_METRIC_COSINE;
  const double norm_x = cosine ? rows.norm_x[i] : 1, norm_y = cosine ? rows.norm_y[j] : 1;
  const double factor_x = cosine ? inverse_norm(norm_x) : 1, factor_y = cosine ? inverse_norm(norm_y) : 1;
  return distance_of_square(
      metric, squared_difference_of(rows.x.row(i), factor_x, rows.y.row(j), factor_y, rows.x.columns), norm_x, norm_y);
}

// A vector of a row of products x.y to distances; told: the lanes that need not be recomputed, so written that NaN is
// not told.
template <duet_metric metric, class D>
HWY_INLINE hn::Vec<D> expand(D tag, hn::Vec<D> product, float square_x, const float* square_y, float near,
                             hn::Mask<D>& told) {
  if constexpr (metric == DUET_METRIC_INNER) {
    return product;
  } else if constexpr (metric == DUET_METRIC_COSINE) {
    const auto value = hn::Sub(hn::Set(tag, 1.0f), product);
    told = hn::Gt(value, hn::Set(tag, near));
    return hn::Min(value, hn::Set(tag, 2.0f));  // opposite rows by the rounding of their product
  } else {
    const auto x = hn::Set(tag, square_x), y = hn::LoadU(tag, square_y),
               limit_x = hn::Set(tag, std::max(near * square_x, kSmallestSquare));
    const auto value = hn::NegMulAdd(hn::Set(tag, 2.0f), product, hn::Add(x, y));
    told = hn::And(hn::Gt(value, hn::Max(limit_x, hn::Mul(hn::Set(tag, near), y))),
                   hn::Le(value, hn::Set(tag, kLargestFloat)));
    return metric == DUET_METRIC_EUCLIDEAN ? hn::Sqrt(value) : value;
  }
}

// kOnce: past the caches; rows of out must be aligned to a vector.
template <duet_metric metric, bool kOnce>
void expand_tile(const DistanceRows& rows, Matrix<const float> products, Matrix<float> out) {
  const hn::ScalableTag<float> tag;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < out.rows; ++i) {
    const float* from = products.row(i);
    float* row = out.row(i);
    const float square_x = metric == DUET_METRIC_INNER ? 0 : rows.square_x[i];
    const auto take = [&](auto t, int64_t j, auto once) HWY_ATTR {
      auto told = hn::FirstN(t, hn::Lanes(t));
      auto value = expand<metric>(t, hn::LoadU(t, from + j), square_x,
                                  rows.square_y + (metric == DUET_METRIC_INNER ? 0 : j), rows.near, told);
      if (metric != DUET_METRIC_INNER && HWY_UNLIKELY(!hn::AllTrue(t, told))) {
        uint8_t bits[HWY_MAX_BYTES / 32 + 8] = {};
        HWY_ALIGN float lane[HWY_MAX_BYTES / sizeof(float)];
        hn::StoreMaskBits(t, hn::Not(told), bits);
        hn::StoreU(value, t, lane);
        for (size_t k = 0; k < hn::Lanes(t); ++k)
          if (bits[k / 8] >> (k % 8) & 1) lane[k] = direct_distance(metric, rows, i, j + static_cast<int64_t>(k));
        value = hn::LoadU(t, lane);
      }
      if constexpr (decltype(once)::value)
        hn::Stream(value, t, row + j);
      else
        hn::StoreU(value, t, row + j);
    };
    int64_t j = 0;
    for (; j + lanes <= out.columns; j += lanes) take(tag, j, std::bool_constant<kOnce>());
    for (; j < out.columns; ++j) take(one, j, std::false_type());
  }
  if constexpr (kOnce) hwy::FlushStream();
}

template <bool kOnce>
void expand_metric(duet_metric metric, const DistanceRows& rows, Matrix<const float> products, Matrix<float> out) {
  if (metric == DUET_METRIC_INNER) return expand_tile<DUET_METRIC_INNER, kOnce>(rows, products, out);
  if (metric == DUET_METRIC_SQEUCLIDEAN) return expand_tile<DUET_METRIC_SQEUCLIDEAN, kOnce>(rows, products, out);
  if (metric == DUET_METRIC_EUCLIDEAN) return expand_tile<DUET_METRIC_EUCLIDEAN, kOnce>(rows, products, out);
  expand_tile<DUET_METRIC_COSINE, kOnce>(rows, products, out);
}

void expand_tile_of(duet_metric metric, const DistanceRows& rows, Matrix<const float> products, bool once,
                    Matrix<float> out) {
  constexpr uintptr_t kLine = 64;
  const bool aligned = reinterpret_cast<uintptr_t>(out.data) % kLine == 0 && out.stride * sizeof(float) % kLine == 0;
  if (once && aligned) return expand_metric<true>(metric, rows, products, out);
  expand_metric<false>(metric, rows, products, out);
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(squared_norm);
HWY_EXPORT(squared_difference_of);
HWY_EXPORT(expand_tile_of);
}  // namespace

DistanceTiles::DistanceTiles(Workspace& workspace, duet_metric metric, int64_t n, int64_t m, int64_t d)
    : metric_(metric) {
  near_ = closeness(metric, static_cast<double>(d));
  x_ = take(workspace, n, d);
  y_ = take(workspace, m, d);
  storage_ = workspace.take<float>(packed_size(m, d));
}

DistanceTiles::Side DistanceTiles::take(Workspace& workspace, int64_t rows, int64_t d) const {
  Side side;
  if (metric_ == DUET_METRIC_INNER) return side;
  side.square = workspace.take<float>(rows);
  if (metric_ == DUET_METRIC_COSINE) {
    side.norm = workspace.take<double>(rows);
    side.unit = workspace.take_matrix<float>(rows, d);
  }
  return side;
}

void DistanceTiles::prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y) {
  prepare(context, x_, x);
  prepare(context, y_, y);
  packed_ = pack_rows(context, y_.rows, storage_);
}

void DistanceTiles::prepare(const duet_context& context, Side& side, Matrix<const float> given) const {
  side.given = given;
  side.rows = metric_ == DUET_METRIC_COSINE ? side.unit : given;
  if (metric_ == DUET_METRIC_INNER) return;
  constexpr int64_t kRows = 64;
  const auto square_of = HWY_DYNAMIC_DISPATCH(squared_norm);
  parallel_chunks(context, given.rows, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const double square = square_of(given.row(i), given.columns);
      side.square[i] = static_cast<float>(square);
      if (metric_ != DUET_METRIC_COSINE) continue;
      const double norm = std::sqrt(square), factor = inverse_norm(norm);
      side.norm[i] = norm;
      side.square[i] = static_cast<float>(unit_square(norm));
      for (int64_t k = 0; k < given.columns; ++k) side.unit.row(i)[k] = static_cast<float>(given.row(i)[k] * factor);
    }
  });
}

double squared_difference(const float* x, double factor_x, const float* y, double factor_y, int64_t d) {
  return HWY_DYNAMIC_DISPATCH(squared_difference_of)(x, factor_x, y, factor_y, d);
}

void DistanceTiles::fill(int64_t first_row, int64_t first_column, Matrix<float> out) const {
  if (out.rows == 0 || out.columns == 0) return;
  tile_product(x_.rows.part(first_row, 0, out.rows, x_.rows.columns), packed_, first_column, out);
  if (metric_ != DUET_METRIC_INNER) expand(first_row, first_column, out, false, out);
}

void DistanceTiles::store(int64_t first_row, int64_t first_column, Matrix<float> scratch, Matrix<float> out) const {
  tile_product(x_.rows.part(first_row, 0, out.rows, x_.rows.columns), packed_, first_column, scratch);
  expand(first_row, first_column, scratch, true, out);
}

void DistanceTiles::expand(int64_t first_row, int64_t first_column, Matrix<const float> products, bool once,
                           Matrix<float> out) const {
  const bool squares = metric_ != DUET_METRIC_INNER, cosine = metric_ == DUET_METRIC_COSINE;
  const DistanceRows rows{x_.given.part(first_row, 0, out.rows, x_.given.columns),
                          y_.given.part(first_column, 0, out.columns, y_.given.columns),
                          squares ? x_.square + first_row : nullptr,
                          squares ? y_.square + first_column : nullptr,
                          cosine ? x_.norm + first_row : nullptr,
                          cosine ? y_.norm + first_column : nullptr,
                          near_};
  HWY_DYNAMIC_DISPATCH(expand_tile_of)(metric_, rows, products, once, out);
}

}  // namespace duet::cpu
#endif
