#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distance/distance_gradient_cpu.cpp"
#include "kernels/distance/distance_gradient_cpu.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// G -> -2 G, in `out`, which may be `g`; returns the sum of it, in float64.
double factor_row(const float* g, int64_t count, float* out) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  auto sum = hn::Zero(wide);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const auto value = hn::Mul(hn::LoadU(narrow, g + j), hn::Set(narrow, -2.0f));
    hn::StoreU(value, narrow, out + j);
    sum = hn::Add(sum, hn::PromoteTo(wide, value));
  }
  double total = hn::GetLane(hn::SumOfLanes(wide, sum));
  for (; j < count; ++j) total += out[j] = -2 * g[j];
  return total;
}

// The same for euclidean: G -> -G / D, but -G of close pairs and 0 where D = 0; and on the way whether a pair of the
// row is close (by_difference()). The sum is then of no use.
double factor_row_and_look(const float* g, const float* distances, float square_x, const float* squares_y, float near,
                           int64_t count, float* out, bool* any_close) {
  const hn::ScalableTag<float> tag;
  const hn::CappedTag<float, 1> one;
  const hn::Half<decltype(tag)> half;
  const hn::RepartitionToWide<decltype(tag)> wide;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const float limit = std::max(near * square_x, kSmallestSquare);
  const auto factor = [&](auto t, int64_t j, auto& close) HWY_ATTR {
    const auto d = hn::LoadU(t, distances + j), minus_g = hn::Neg(hn::LoadU(t, g + j));
    const auto bound = hn::Max(hn::Set(t, limit), hn::Mul(hn::Set(t, near), hn::LoadU(t, squares_y + j)));
    close = hn::Or(hn::Lt(hn::Mul(d, d), bound), hn::Gt(d, hn::Set(t, kFarEuclidean)));
    return hn::IfThenZeroElse(hn::Eq(d, hn::Zero(t)), hn::IfThenElse(close, minus_g, hn::Div(minus_g, d)));
  };
  auto found = hn::FirstN(tag, 0), close = found;
  auto lower = hn::Zero(wide), upper = hn::Zero(wide);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const auto value = factor(tag, j, close);
    hn::StoreU(value, tag, out + j);
    lower = hn::Add(lower, hn::PromoteTo(wide, hn::LowerHalf(half, value)));
    upper = hn::Add(upper, hn::PromoteTo(wide, hn::UpperHalf(half, value)));
    found = hn::Or(found, close);
  }
  *any_close = !hn::AllFalse(tag, found);
  double total = hn::GetLane(hn::SumOfLanes(wide, hn::Add(lower, upper)));
  auto is_close = hn::FirstN(one, 0);
  for (; j < count; ++j) {
    hn::StoreU(factor(one, j, is_close), one, out + j);
    total += out[j];
    *any_close = *any_close || !hn::AllFalse(one, is_close);
  }
  return total;
}

// Whether a cosine distance of the row is close.
bool any_below(const float* distances, float near, int64_t count) {
  const hn::ScalableTag<float> tag;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  auto found = hn::FirstN(tag, 0);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes)
    found = hn::Or(found, hn::Lt(hn::LoadU(tag, distances + j), hn::Set(tag, near)));
  bool any = !hn::AllFalse(tag, found);
  for (; j < count; ++j) any |= distances[j] < near;
  return any;
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(factor_row);
HWY_EXPORT(factor_row_and_look);
HWY_EXPORT(any_below);

constexpr int64_t kChunk = 64;  // rows or columns of a work item, and columns of a word of close pairs

// Whether a pair's gradients are multiples of the difference of its rows, x_i - y_j.
bool of_differences(duet_metric metric) { return metric == DUET_METRIC_SQEUCLIDEAN || metric == DUET_METRIC_EUCLIDEAN; }

// grad_i += -sum_i x_i: what the products leave out of sum_j H_ij (x_i - y_j), H being minus the factor.
void subtract_scaled_rows(const duet_context& context, const double* sums, Matrix<const float> rows,
                          Matrix<float> grad) {
  if (!grad) return;
  parallel_chunks(context, rows.rows, kChunk, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const float sum = static_cast<float>(sums[i]);
      for (int64_t k = 0; k < rows.columns; ++k) grad.row(i)[k] -= sum * rows.row(i)[k];
    }
  });
}

// grad_i -= (g_i - (g_i.u_i) u_i) / norm_i, g_i the gradient of u_i.w_j; nothing for a row without direction.
void project(const duet_context& context, Matrix<const float> g, Matrix<const float> rows, const double* norm,
             Matrix<float> grad) {
  if (!grad) return;
  parallel_chunks(context, rows.rows, kChunk, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      if (norm[i] < kSmallestNorm) continue;
      const double inverse = 1 / norm[i];
      const float* row = rows.row(i);
      double along = 0;
      for (int64_t k = 0; k < rows.columns; ++k) along += g.row(i)[k] * (row[k] * inverse);
      for (int64_t k = 0; k < rows.columns; ++k)
        grad.row(i)[k] -= static_cast<float>((g.row(i)[k] - along * (row[k] * inverse)) * inverse);
    }
  });
}

}  // namespace

DistanceGradients::DistanceGradients(Workspace& workspace, const duet_context& context, duet_metric metric, int64_t n,
                                     int64_t m, int64_t d, int64_t block_rows, int64_t block_columns)
    : metric_(metric), products_(workspace, context, n, block_rows, block_columns, d, of_differences(metric)) {
  if (metric == DUET_METRIC_COSINE) {
    unit_x_ = workspace.take_matrix<float>(n, d);
    unit_y_ = workspace.take_matrix<float>(m, d);
  } else if (of_differences(metric)) {
    row_sum_ = workspace.take<double>(n);
  }
  if (metric == DUET_METRIC_EUCLIDEAN || metric == DUET_METRIC_COSINE) {
    close_ = workspace.take_matrix<uint64_t>(block_rows, ceil_div(block_columns, kChunk));
    has_close_ = workspace.take<uint8_t>(block_rows);
  }
}

void DistanceGradients::begin(const DistanceTiles& tiles, Matrix<float> grad_x, Matrix<float> grad_y) {
  tiles_ = &tiles;
  grad_x_ = grad_x;
  grad_y_ = grad_y;
  const auto wanted = [&](Matrix<float> grad, Matrix<float> unit) {
    return grad && metric_ == DUET_METRIC_COSINE ? unit : grad;
  };
  products_.begin(tiles.x(), tiles.y(), wanted(grad_x, unit_x_), wanted(grad_y, unit_y_));
  if (metric_ == DUET_METRIC_COSINE) {
    std::fill_n(unit_x_.data, unit_x_.rows * unit_x_.columns, 0.0f);
    std::fill_n(unit_y_.data, unit_y_.rows * unit_y_.columns, 0.0f);
  } else if (of_differences(metric_)) {
    std::fill_n(row_sum_, tiles.x().rows, 0.0);
  }
  if (has_close_) std::fill_n(has_close_, close_.rows, uint8_t{0});
}

void DistanceGradients::take_tile(const Tile& tile, Matrix<const float> distances, Matrix<const float> given,
                                  Matrix<float> g) {
  const bool plain = !of_differences(metric_);
  for (int64_t i = 0; i < g.rows; ++i) {
    const int64_t row = tile.first_row + i;
    if (plain) {
      if (given.row(i) != g.row(i)) std::memcpy(g.row(i), given.row(i), sizeof(float) * static_cast<size_t>(g.columns));
      if (metric_ == DUET_METRIC_COSINE && distances &&
          HWY_DYNAMIC_DISPATCH(any_below)(distances.row(i), tiles_->near(), g.columns))
        mark_close(tile, i, distances.row(i), g.row(i));
      continue;
    }
    if (metric_ == DUET_METRIC_SQEUCLIDEAN) {
      row_sum_[row] += HWY_DYNAMIC_DISPATCH(factor_row)(given.row(i), g.columns, g.row(i));
      continue;
    }
    bool any_close = false;
    double sum = HWY_DYNAMIC_DISPATCH(factor_row_and_look)(given.row(i), distances.row(i), tiles_->squares_x()[row],
                                                           tiles_->squares_y() + tile.first_column, tiles_->near(),
                                                           g.columns, g.row(i), &any_close);
    if (any_close) sum = mark_close(tile, i, distances.row(i), g.row(i));
    row_sum_[row] += sum;
  }
}

// Notes the close pairs of a row of the tile for add_close_pairs; returns the row's sum without them.
double DistanceGradients::mark_close(const Tile& tile, int64_t i, const float* distances, const float* g) {
  const int64_t row = tile.first_row + i;
  uint64_t* words = close_.row(tile.block_row + i);
  if (!has_close_[tile.block_row + i]) std::fill_n(words, close_.columns, uint64_t{0});
  has_close_[tile.block_row + i] = 1;
  double sum = 0;
  for (int64_t j = 0; j < tile.columns; ++j) {
    const float larger = std::max(tiles_->squares_x()[row], tiles_->squares_y()[tile.first_column + j]);
    const int64_t column = tile.block_column + j;
    if (g[j] != 0 && by_difference(metric_, distances[j], tiles_->near(), larger))
      words[column / kChunk] |= uint64_t{1} << (column % kChunk);
    else
      sum += g[j];
  }
  return sum;
}

// A close pair's share of the gradient of x_i: factor times (x_i - y_j) / D, of cosine u_i - w_j for the gradient of
// u_i, which project() takes across u_i.
void DistanceGradients::add_close_pair(float factor, const CloseRow& x, const CloseRow& y, float* grad) const {
  const int64_t d = tiles_->x().columns;
  double times = factor;
  if (metric_ == DUET_METRIC_EUCLIDEAN) {
    const double square = squared_difference(x.row, 1, y.row, 1, d);
    if (square == 0) return;
    times /= std::sqrt(square);
  }
  for (int64_t k = 0; k < d; ++k) grad[k] -= static_cast<float>(times * (x.row[k] * x.factor - y.row[k] * y.factor));
}

// The close pairs' share of the gradients, in order of columns for x and of rows for y; their factor becomes 0.
void DistanceGradients::add_close_pairs(const duet_context& context, const Block& block, Matrix<float> g) {
  if (std::none_of(has_close_, has_close_ + block.rows, [](uint8_t has) { return has != 0; })) return;
  const bool cosine = metric_ == DUET_METRIC_COSINE;
  const auto row_x = [&](int64_t i) {
    return CloseRow{tiles_->given_x().row(i), cosine ? inverse_norm(tiles_->norms_x()[i]) : 1};
  };
  const auto row_y = [&](int64_t j) {
    return CloseRow{tiles_->given_y().row(j), cosine ? inverse_norm(tiles_->norms_y()[j]) : 1};
  };
  const Matrix<float> to_x = grad_x_ && cosine ? unit_x_ : grad_x_, to_y = grad_y_ && cosine ? unit_y_ : grad_y_;
  const auto each_bit = [](uint64_t word, auto&& body) {
    for (; word; word &= word - 1) body(std::countr_zero(word));
  };
  if (to_x) {
    parallel_for(context, block.rows, [&](int64_t i, int) {
      if (!has_close_[i]) return;
      const int64_t row = block.first_row + i;
      for (int64_t w = 0; w < ceil_div(block.columns, kChunk); ++w)
        each_bit(close_.row(i)[w], [&](int64_t bit) {
          const int64_t j = w * kChunk + bit;
          add_close_pair(g.row(i)[j], row_x(row), row_y(block.first_column + j), to_x.row(row));
        });
    });
  }
  parallel_for(context, ceil_div(block.columns, kChunk), [&](int64_t w, int) {
    for (int64_t i = 0; i < block.rows; ++i) {
      if (!has_close_[i]) continue;
      each_bit(close_.row(i)[w], [&](int64_t bit) {
        const int64_t j = w * kChunk + bit, column = block.first_column + j;
        if (to_y) add_close_pair(g.row(i)[j], row_y(column), row_x(block.first_row + i), to_y.row(column));
        g.row(i)[j] = 0;
      });
    }
  });
  std::fill_n(has_close_, block.rows, uint8_t{0});
}

void DistanceGradients::add_block(const duet_context& context, const Block& block, Matrix<float> g) {
  if (has_close_) add_close_pairs(context, block, g);
  products_.add(context, block, g);
}

void DistanceGradients::finish(const duet_context& context) {
  if (tiles_->x().rows == 0 || tiles_->y().rows == 0) return;  // no pair adds anything, not even 0 times a NaN
  if (metric_ == DUET_METRIC_COSINE) {
    project(context, unit_x_, tiles_->given_x(), tiles_->norms_x(), grad_x_);
    project(context, unit_y_, tiles_->given_y(), tiles_->norms_y(), grad_y_);
  } else if (of_differences(metric_)) {
    subtract_scaled_rows(context, row_sum_, tiles_->x(), grad_x_);
  }
}

}  // namespace duet::cpu
#endif
