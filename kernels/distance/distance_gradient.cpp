#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/distance/distance_gradient.cpp"
#include "kernels/distance/distance_gradient.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstring>

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

// A row of G to the factor of the products, in `out`, which may be `g`; returns its sum, in float64.
template <class Factor>
HWY_INLINE double factor_of(Factor factor, const float* g, const float* distances, int64_t count, float* out) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(wide));
  auto sum = hn::Zero(wide);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const auto value = factor(narrow, hn::LoadU(narrow, g + j), distances + j);
    hn::StoreU(value, narrow, out + j);
    sum = hn::Add(sum, hn::PromoteTo(wide, value));
  }
  double total = hn::GetLane(hn::SumOfLanes(wide, sum));
  for (; j < count; ++j) {
    hn::StoreU(factor(one, hn::LoadU(one, g + j), distances + j), one, out + j);
    total += out[j];
  }
  return total;
}

double factor_row(const float* g, int64_t count, float* out) { return factor_of(TimesMinusTwo{}, g, g, count, out); }

// The same for euclidean, and on the way whether a pair of the row is close: D^2 < near max(|x|^2, |y|^2), METHOD.md 1's rule.
double factor_row_and_look(const float* g, const float* distances, float square_x, const float* squares_y, float near, int64_t count, float* out,
                           bool* any_close) {
  const hn::ScalableTag<float> tag;
  const hn::Half<decltype(tag)> half;
  const hn::RepartitionToWide<decltype(tag)> wide;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(tag));
  const OverMinusDistance factor;
  const auto at_x = hn::Set(tag, square_x), limit = hn::Set(tag, near);
  auto found = hn::FirstN(tag, 0);
  auto lower = hn::Zero(wide), upper = hn::Zero(wide);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const auto value = factor(tag, hn::LoadU(tag, g + j), distances + j), d = hn::LoadU(tag, distances + j);
    hn::StoreU(value, tag, out + j);
    lower = hn::Add(lower, hn::PromoteTo(wide, hn::LowerHalf(half, value)));
    upper = hn::Add(upper, hn::PromoteTo(wide, hn::UpperHalf(half, value)));
    found = hn::Or(found, hn::Lt(hn::Mul(d, d), hn::Mul(limit, hn::Max(at_x, hn::LoadU(tag, squares_y + j)))));
  }
  *any_close = !hn::AllFalse(tag, found);
  double total = hn::GetLane(hn::SumOfLanes(wide, hn::Add(lower, upper)));
  total += factor_of(factor, g + j, distances + j, count - j, out + j);
  for (; j < count; ++j) *any_close = *any_close || distances[j] * distances[j] < near * std::max(square_x, squares_y[j]);
  return total;
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
HWY_EXPORT(factor_row_and_look);
HWY_EXPORT(add_columns);

constexpr int64_t kChunk = 64;  // rows or columns of a work item, and columns of a word of close pairs

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

DistanceGradients::DistanceGradients(Workspace& workspace, duet_metric metric, int64_t n, int64_t m, int64_t d, int64_t block_rows,
                                     int64_t block_columns)
    : metric_(metric), products_(workspace, block_rows, block_columns, d) {
  if (metric == DUET_COSINE) {
    unit_x_ = workspace.take_matrix<float>(n, d);
    unit_y_ = workspace.take_matrix<float>(m, d);
  } else if (metric != DUET_INNER) {
    row_sum_ = workspace.take<double>(n);
    column_sum_ = workspace.take<double>(m);
  }
  if (metric == DUET_EUCLIDEAN) {
    close_ = workspace.take_matrix<uint64_t>(block_rows, ceil_div(block_columns, kChunk));
    has_close_ = workspace.take<uint8_t>(block_rows);
  }
}

void DistanceGradients::begin(const DistanceTiles& tiles, Matrix<float> grad_x, Matrix<float> grad_y) {
  tiles_ = &tiles;
  grad_x_ = grad_x;
  grad_y_ = grad_y;
  const auto wanted = [&](Matrix<float> grad, Matrix<float> unit) { return grad && metric_ == DUET_COSINE ? unit : grad; };
  products_.begin(tiles.x(), tiles.y(), wanted(grad_x, unit_x_), wanted(grad_y, unit_y_));
  if (metric_ == DUET_COSINE) {
    std::fill_n(unit_x_.data, unit_x_.rows * unit_x_.columns, 0.0f);
    std::fill_n(unit_y_.data, unit_y_.rows * unit_y_.columns, 0.0f);
  } else if (metric_ != DUET_INNER) {
    std::fill_n(row_sum_, tiles.x().rows, 0.0);
    std::fill_n(column_sum_, tiles.y().rows, 0.0);
  }
  if (metric_ == DUET_EUCLIDEAN) std::fill_n(has_close_, close_.rows, uint8_t{0});
}

void DistanceGradients::take_tile(const Tile& tile, Matrix<const float> distances, Matrix<const float> given, Matrix<float> g) {
  const bool plain = metric_ == DUET_COSINE || metric_ == DUET_INNER;
  for (int64_t i = 0; i < g.rows; ++i) {
    if (plain) {
      if (given.row(i) != g.row(i)) std::memcpy(g.row(i), given.row(i), sizeof(float) * static_cast<size_t>(g.columns));
      continue;
    }
    const int64_t row = tile.first_row + i;
    if (metric_ == DUET_SQEUCLIDEAN) {
      row_sum_[row] += HWY_DYNAMIC_DISPATCH(factor_row)(given.row(i), g.columns, g.row(i));
      continue;
    }
    bool any_close = false;
    double sum = HWY_DYNAMIC_DISPATCH(factor_row_and_look)(given.row(i), distances.row(i), tiles_->squares_x()[row],
                                                           tiles_->squares_y() + tile.first_column, tiles_->near(), g.columns, g.row(i), &any_close);
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
    if (distances[j] * distances[j] < tiles_->near() * larger)
      words[column / kChunk] |= uint64_t{1} << (column % kChunk);
    else
      sum += g[j];
  }
  return sum;
}

// Their share of the gradients by differences of rows, in order of columns for x and of rows for y; their factor becomes 0.
void DistanceGradients::add_close_pairs(const duet_context& context, const Block& block, Matrix<float> g) {
  if (std::none_of(has_close_, has_close_ + block.rows, [](uint8_t has) { return has != 0; })) return;
  const auto x = tiles_->x(), y = tiles_->y();
  const auto each_bit = [](uint64_t word, auto&& body) {
    for (; word; word &= word - 1) body(std::countr_zero(word));
  };
  const auto add = [&](float factor, const float* from, const float* to, float* grad) {
    for (int64_t k = 0; k < x.columns; ++k) grad[k] -= factor * (from[k] - to[k]);
  };
  if (grad_x_) {
    parallel_for(context, block.rows, [&](int64_t i, int) {
      if (!has_close_[i]) return;
      const int64_t row = block.first_row + i;
      for (int64_t w = 0; w < ceil_div(block.columns, kChunk); ++w)
        each_bit(close_.row(i)[w], [&](int64_t bit) {
          const int64_t j = w * kChunk + bit;
          add(g.row(i)[j], x.row(row), y.row(block.first_column + j), grad_x_.row(row));
        });
    });
  }
  parallel_for(context, ceil_div(block.columns, kChunk), [&](int64_t w, int) {
    for (int64_t i = 0; i < block.rows; ++i) {
      if (!has_close_[i]) continue;
      each_bit(close_.row(i)[w], [&](int64_t bit) {
        const int64_t j = w * kChunk + bit, column = block.first_column + j;
        if (grad_y_) add(g.row(i)[j], y.row(column), x.row(block.first_row + i), grad_y_.row(column));
        g.row(i)[j] = 0;
      });
    }
  });
  std::fill_n(has_close_, block.rows, uint8_t{0});
}

void DistanceGradients::add_block(const duet_context& context, const Block& block, Matrix<float> g) {
  if (metric_ == DUET_EUCLIDEAN) add_close_pairs(context, block, g);
  if (grad_y_ && column_sum_) {
    const auto add = HWY_DYNAMIC_DISPATCH(add_columns);
    parallel_chunks(context, block.columns, kChunk,
                    [&](int64_t first, int64_t count, int) { add(g.part(0, first, block.rows, count), column_sum_ + block.first_column + first); });
  }
  products_.add(context, block, g);
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
