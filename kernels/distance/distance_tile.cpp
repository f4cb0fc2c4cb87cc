#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distance/distance_tile.cpp"
#include "kernels/distance/distance_tile.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/product.h"

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
    const auto a = hn::PromoteTo(wide, hn::LoadU(narrow, x + k)), b = hn::PromoteTo(wide, hn::LoadU(narrow, x + k + lanes));
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  double sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(even, odd)));
  for (; k < d; ++k) sum += double{x[k]} * x[k];
  return sum;
}

// sum_k (x_k - y_k)^2 without the expansion; 0 for equal rows.
float squared_difference(const float* x, const float* y, int64_t d) {
  const hn::ScalableTag<float> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  auto even = hn::Zero(tag), odd = hn::Zero(tag);
  int64_t k = 0;
  for (; k + 2 * lanes <= d; k += 2 * lanes) {
    const auto a = hn::Sub(hn::LoadU(tag, x + k), hn::LoadU(tag, y + k));
    const auto b = hn::Sub(hn::LoadU(tag, x + k + lanes), hn::LoadU(tag, y + k + lanes));
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, hn::Add(even, odd)));
  for (; k < d; ++k) sum += (x[k] - y[k]) * (x[k] - y[k]);
  return sum;
}

// A pair that the expansion cannot tell: too close, beyond float32's range on the way, or NaN.
float direct_distance(duet_metric metric, const float* x, const float* y, int64_t d, float square_x, float square_y) {
  const float sum = squared_difference(x, y, d);
  if (metric == DUET_COSINE) return 0.5f * (sum + (1 - square_x) + (1 - square_y));  // rows shorter than eps have no unit copy
  if (sum <= FLT_MAX) return metric == DUET_EUCLIDEAN ? std::sqrt(sum) : sum;
  double exact = 0;
  for (int64_t k = 0; k < d; ++k) exact += (double{x[k]} - y[k]) * (double{x[k]} - y[k]);
  return static_cast<float>(metric == DUET_EUCLIDEAN ? std::sqrt(exact) : exact);
}

// One vector of a row of products (sqeuclidean, euclidean: -2 x.y; cosine: -u.w) to distances; true where some lane must be recomputed.
template <duet_metric metric, class D>
HWY_INLINE bool expand(D tag, float square_x, const float* square_y, float near, float* out, uint8_t* bits) {
  const auto product = hn::LoadU(tag, out), largest = hn::Set(tag, FLT_MAX);
  auto value = hn::Zero(tag);
  auto told = hn::FirstN(tag, 0);
  if constexpr (metric == DUET_COSINE) {
    value = hn::Add(hn::Set(tag, 1.0f), product);
    told = hn::Gt(value, hn::Set(tag, near));
  } else {
    const auto x = hn::Set(tag, square_x), y = hn::LoadU(tag, square_y);
    value = hn::Add(hn::Add(x, y), product);
    told = hn::And(hn::Gt(value, hn::Mul(hn::Set(tag, near), hn::Max(x, y))), hn::Le(value, largest));
    if constexpr (metric == DUET_EUCLIDEAN) value = hn::Sqrt(value);
  }
  hn::StoreU(value, tag, out);
  if (HWY_LIKELY(hn::AllTrue(tag, told))) return false;
  hn::StoreMaskBits(tag, hn::Not(told), bits);
  return true;
}

template <duet_metric metric>
void expand_tile(Matrix<const float> x, Matrix<const float> y, const float* square_x, const float* square_y, float near, Matrix<float> out) {
  const hn::ScalableTag<float> tag;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  for (int64_t i = 0; i < out.rows; ++i) {
    float* row = out.row(i);
    uint8_t bits[HWY_MAX_BYTES / 32 + 8] = {};
    const auto recompute = [&](int64_t j, int64_t count) {
      for (int64_t k = 0; k < count; ++k)
        if (bits[k / 8] >> (k % 8) & 1) row[j + k] = direct_distance(metric, x.row(i), y.row(j + k), x.columns, square_x[i], square_y[j + k]);
    };
    int64_t j = 0;
    for (; j + lanes <= out.columns; j += lanes)
      if (HWY_UNLIKELY(expand<metric>(tag, square_x[i], square_y + j, near, row + j, bits))) recompute(j, lanes);
    for (; j < out.columns; ++j)
      if (HWY_UNLIKELY(expand<metric>(one, square_x[i], square_y + j, near, row + j, bits))) recompute(j, 1);
  }
}

void expand_tile_of(duet_metric metric, Matrix<const float> x, Matrix<const float> y, const float* square_x, const float* square_y, float near,
                    Matrix<float> out) {
  if (metric == DUET_SQEUCLIDEAN) return expand_tile<DUET_SQEUCLIDEAN>(x, y, square_x, square_y, near, out);
  if (metric == DUET_EUCLIDEAN) return expand_tile<DUET_EUCLIDEAN>(x, y, square_x, square_y, near, out);
  expand_tile<DUET_COSINE>(x, y, square_x, square_y, near, out);
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(squared_norm);
HWY_EXPORT(expand_tile_of);
}  // namespace

DistanceTiles::DistanceTiles(Workspace& workspace, duet_metric metric, int64_t n, int64_t m, int64_t d) : metric_(metric) {
  // METHOD.md 1; a cosine distance of unit rows is half their squared distance.
  const double near = 4e-4 * std::max(1.0, static_cast<double>(d) / 128);
  near_ = static_cast<float>(metric == DUET_COSINE ? near / 2 : near);
  x_ = take(workspace, n, d);
  y_ = take(workspace, m, d);
}

DistanceTiles::Side DistanceTiles::take(Workspace& workspace, int64_t rows, int64_t d) const {
  Side side;
  if (metric_ == DUET_INNER) return side;
  side.square = workspace.take<float>(rows);
  if (metric_ == DUET_COSINE) {
    side.norm = workspace.take<double>(rows);
    side.unit = workspace.take_matrix<float>(rows, d);
  }
  return side;
}

void DistanceTiles::prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y) {
  prepare(context, x_, x);
  prepare(context, y_, y);
}

void DistanceTiles::prepare(const duet_context& context, Side& side, Matrix<const float> given) const {
  side.rows = metric_ == DUET_COSINE ? side.unit : given;
  if (metric_ == DUET_INNER) return;
  constexpr int64_t kRows = 64;
  const auto square_of = HWY_DYNAMIC_DISPATCH(squared_norm);
  parallel_chunks(context, given.rows, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const double square = square_of(given.row(i), given.columns);
      side.square[i] = static_cast<float>(square);
      if (metric_ != DUET_COSINE) continue;
      const double norm = std::sqrt(square), factor = 1 / (norm < kSmallestNorm ? kSmallestNorm : norm);
      side.norm[i] = norm;
      side.square[i] = norm < kSmallestNorm ? static_cast<float>(square * factor * factor) : 1.0f;
      for (int64_t k = 0; k < given.columns; ++k) side.unit.row(i)[k] = static_cast<float>(given.row(i)[k] * factor);
    }
  });
}

void DistanceTiles::fill(int64_t first_row, int64_t first_column, Matrix<float> out) const {
  if (out.rows == 0 || out.columns == 0) return;
  const auto x = x_.rows.part(first_row, 0, out.rows, x_.rows.columns), y = y_.rows.part(first_column, 0, out.columns, y_.rows.columns);
  product_nt(metric_ == DUET_INNER ? 1.0f : metric_ == DUET_COSINE ? -1.0f : -2.0f, x, y, 0, out);
  if (metric_ != DUET_INNER) HWY_DYNAMIC_DISPATCH(expand_tile_of)(metric_, x, y, x_.square + first_row, y_.square + first_column, near_, out);
}

}  // namespace duet::cpu
#endif
