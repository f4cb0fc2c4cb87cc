#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distance/distance_gradient.cpp"
#include "kernels/distance/distance_gradient.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// G -> -2 G
struct TimesMinusTwo {
  template <class D, class V>
  HWY_INLINE V operator()(D tag, V g, const float*) const {
    return hn::Mul(g, hn::Set(tag, -2.0f));
  }
};

// G -> -G / D, 0 where D = 0
struct OverMinusDistance {
  template <class D, class V>
  HWY_INLINE V operator()(D tag, V g, const float* distance) const {
    const auto d = hn::LoadU(tag, distance);
    return hn::IfThenZeroElse(hn::Eq(d, hn::Zero(tag)), hn::Div(g, hn::Neg(d)));
  }
};

// A row of G to the factor of the products, in place; returns its sum, in float64.
template <class Factor>
HWY_INLINE double factor_of(Factor factor, float* g, const float* distances, int64_t count) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  auto sum = hn::Zero(wide);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const auto value = factor(narrow, hn::LoadU(narrow, g + j), distances + j);
    hn::StoreU(value, narrow, g + j);
    sum = hn::Add(sum, hn::PromoteTo(wide, value));
  }
  double total = hn::GetLane(hn::SumOfLanes(wide, sum));
  for (; j < count; ++j) {
    hn::StoreU(factor(one, hn::LoadU(one, g + j), distances + j), one, g + j);
    total += g[j];
  }
  return total;
}

double factor_row(bool euclidean, float* g, const float* distances, int64_t count) {
  return euclidean ? factor_of(OverMinusDistance{}, g, distances, count) : factor_of(TimesMinusTwo{}, g, g, count);
}

// sums[j] += sum_i g_ij, row after row, in float64
void add_columns(Matrix<const float> g, double* sums) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  int64_t j = 0;
  for (; j + lanes <= g.columns; j += lanes) {
    auto sum = hn::LoadU(wide, sums + j);
    for (int64_t i = 0; i < g.rows; ++i) sum = hn::Add(sum, hn::PromoteTo(wide, hn::LoadU(narrow, g.row(i) + j)));
    hn::StoreU(sum, wide, sums + j);
  }
  for (; j < g.columns; ++j)
    for (int64_t i = 0; i < g.rows; ++i) sums[j] += g.row(i)[j];
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(factor_row);
HWY_EXPORT(add_columns);

constexpr int64_t kChunk = 64;  // rows or columns of a work item

// grad_i += -sum_i x_i: what the products leave out of sum_j H_ij (x_i - y_j), H being minus the factor.
void subtract_scaled_rows(const duet_context& context, const double* sums, Matrix<const float> rows, Matrix<float> grad) {
  if (!grad) return;
  parallel_chunks(context, rows.rows, kChunk, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const float sum = static_cast<float>(sums[i]);
      for (int64_t k = 0; k < rows.columns; ++k) grad.row(i)[k] -= sum * rows.row(i)[k];
    }
  });
}

// grad_i -= (g_i - (g_i.u_i) u_i) / norm_i, g_i the gradient of u_i.w_j; nothing for a row without direction.
void project(const duet_context& context, Matrix<const float> g, Matrix<const float> unit, const double* norm, Matrix<float> grad) {
  if (!grad) return;
  parallel_chunks(context, unit.rows, kChunk, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      if (norm[i] < kSmallestNorm) continue;
      double along = 0;
      for (int64_t k = 0; k < unit.columns; ++k) along += double{g.row(i)[k]} * unit.row(i)[k];
      for (int64_t k = 0; k < unit.columns; ++k) grad.row(i)[k] -= static_cast<float>((g.row(i)[k] - along * unit.row(i)[k]) / norm[i]);
    }
  });
}

}  // namespace

DistanceGradients::DistanceGradients(Workspace& workspace, duet_metric metric, int64_t n, int64_t m, int64_t d) : metric_(metric) {
  if (metric == DUET_COSINE) {
    unit_x_ = workspace.take_matrix<float>(n, d);
    unit_y_ = workspace.take_matrix<float>(m, d);
  } else if (metric != DUET_INNER) {
    row_sum_ = workspace.take<double>(n);
    column_sum_ = workspace.take<double>(m);
  }
}

void DistanceGradients::begin(const duet_context&, const DistanceTiles& tiles, Matrix<float> grad_x, Matrix<float> grad_y) {
  tiles_ = &tiles;
  grad_x_ = grad_x;
  grad_y_ = grad_y;
  if (metric_ == DUET_COSINE) {
    std::fill_n(unit_x_.data, unit_x_.rows * unit_x_.columns, 0.0f);
    std::fill_n(unit_y_.data, unit_y_.rows * unit_y_.columns, 0.0f);
  } else if (metric_ != DUET_INNER) {
    std::fill_n(row_sum_, tiles.x().rows, 0.0);
    std::fill_n(column_sum_, tiles.y().rows, 0.0);
  }
}

void DistanceGradients::take_tile(int64_t first_row, Matrix<const float> distances, Matrix<float> g) {
  if (metric_ == DUET_COSINE || metric_ == DUET_INNER) return;
  const auto factor = HWY_DYNAMIC_DISPATCH(factor_row);
  for (int64_t i = 0; i < g.rows; ++i)
    row_sum_[first_row + i] += factor(metric_ == DUET_EUCLIDEAN, g.row(i), distances ? distances.row(i) : nullptr, g.columns);
}

void DistanceGradients::add_block(const duet_context& context, const Block& block, Matrix<const float> g) {
  const bool cosine = metric_ == DUET_COSINE;
  const auto wanted = [&](Matrix<float> grad, Matrix<float> unit) { return grad && cosine ? unit : grad; };
  if (grad_y_ && !cosine && metric_ != DUET_INNER) {
    const auto add = HWY_DYNAMIC_DISPATCH(add_columns);
    parallel_chunks(context, block.columns, kChunk,
                    [&](int64_t first, int64_t count, int) { add(g.part(0, first, block.rows, count), column_sum_ + block.first_column + first); });
  }
  add_block_gradients(context, block, g, tiles_->x(), tiles_->y(), wanted(grad_x_, unit_x_), wanted(grad_y_, unit_y_));
}

void DistanceGradients::finish(const duet_context& context) {
  if (metric_ == DUET_COSINE) {
    project(context, unit_x_, tiles_->x(), tiles_->norms_x(), grad_x_);
    project(context, unit_y_, tiles_->y(), tiles_->norms_y(), grad_y_);
  } else if (metric_ != DUET_INNER) {
    subtract_scaled_rows(context, row_sum_, tiles_->x(), grad_x_);
    subtract_scaled_rows(context, column_sum_, tiles_->y(), grad_y_);
  }
}

}  // namespace duet::cpu
#endif
