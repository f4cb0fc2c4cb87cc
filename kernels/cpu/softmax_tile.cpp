#include "kernels/cpu/softmax_tile.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax_tile.cpp"
#include <hwy/foreach_target.h>

#include "kernels/core/own_pair.h"
#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {

// Dots and the scale with their signs exchanged where the scale is negative, so that the largest dot makes the largest
// score.
struct Signed {
  float sign, size;

  explicit Signed(float scale) : sign(scale < 0 ? -1.0f : 1.0f), size(std::abs(scale)) {}
};

// The largest dot of every row and column, NaN left out: it shows in the sums. -inf where nothing else is there.
void maxima(Matrix<const float> dots, float sign, float* row_max, float* column_max) {
  const auto lowest = hn::Set(kTag, -std::numeric_limits<float>::infinity()), factor = hn::Set(kTag, sign);
  fill(column_max, padded(dots.columns), -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < dots.rows; ++i) {
    const float* row = dots.row(i);
    auto largest = lowest;
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      auto x = hn::Mul(hn::LoadU(kTag, row + j), factor);
      if constexpr (decltype(last)::value)
        x = hn::IfThenElse(hn::FirstN(kTag, static_cast<size_t>(dots.columns - j)), x, lowest);
      x = hn::IfThenElse(hn::Eq(x, x), x, lowest);
      largest = hn::Max(largest, x);
      hn::StoreU(hn::Max(hn::LoadU(kTag, column_max + j), x), kTag, column_max + j);
    });
    row_max[i] = hn::GetLane(hn::MaxOfLanes(kTag, largest));
  }
}

// Turns maxima into shifts; true where one shift, the largest, serves the whole tile; else largest is 0. size: of the
// scale. A row or column whose scores are all left out
// (own_pair.h) is served by any.
bool choose_shifts(Matrix<const float> dots, float size, float* row_shift, float* column_shift, float& largest) {
  largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < dots.rows; ++i) largest = row_shift[i] > largest ? row_shift[i] : largest;
  bool one = std::isfinite(largest);
  const float highest = largest;
  const auto near = [highest, size](float value) {
    const bool left_out = value * size < kLeftOut / 4 && std::isfinite(value);
    return left_out || (highest - value) * size <= kWidestShift;  // NaN: no
  };
  for (int64_t i = 0; i < dots.rows; ++i) one = one && near(row_shift[i]);
  for (int64_t j = 0; j < dots.columns; ++j) one = one && near(column_shift[j]);
  if (!std::isfinite(largest)) largest = 0;
  if (one) {
    fill(row_shift, dots.rows, largest);
    fill(column_shift, dots.columns, largest);
  } else {  // an infinite maximum makes no shift: its exponential speaks for itself
    for (int64_t i = 0; i < dots.rows; ++i) row_shift[i] = std::isfinite(row_shift[i]) ? row_shift[i] : 0;
    for (int64_t j = 0; j < dots.columns; ++j) column_shift[j] = std::isfinite(column_shift[j]) ? column_shift[j] : 0;
    largest = 0;  // beside the other rows' scores it would round them
  }
  return one;
}

// One pass, for the rows' sums, for the columns' or for both. kCross: the cross sums too. The shift is taken from the
// dots, before the scale: scores as large as 10^10 are rounded by more than they differ.
template <bool kRows, bool kColumns, bool kCross>
void sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale, float centre,
          ExpSums rows, ExpSums columns) {
  const Signed of(scale);
  const auto sign = hn::Set(kTag, of.sign), size = hn::Set(kTag, of.size), other_factor = hn::Set(kTag, other_scale);
  const auto middle = hn::Set(kTag, centre);
  if constexpr (kColumns) fill(columns.sum, padded(dots.columns), 0);
  if constexpr (kColumns && kCross) fill(columns.cross, padded(dots.columns), 0);
  for (int64_t i = 0; i < dots.rows; ++i) {
    const float* row = dots.row(i);
    const float* other_row = kCross ? other.row(i) : nullptr;
    const auto row_shift = hn::Set(kTag, kRows ? rows.shift[i] : 0);
    auto sum = hn::Zero(kTag), cross_sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto x = hn::Mul(
          hn::MulSub(hn::LoadU(kTag, row + j), sign, kRows ? row_shift : hn::LoadU(kTag, columns.shift + j)), size);
      const auto e = exp(kTag, x);
      if constexpr (kRows) sum = hn::Add(sum, counted(e, dots.columns - j, last));
      // All loads before the stores: the arrays lie a multiple of 4 KB apart, and a load is held up by a store to the
      // same place in a page.
      FloatVector column_sum, column_cross;
      if constexpr (kColumns) column_sum = hn::Add(hn::LoadU(kTag, columns.sum + j), e);
      if constexpr (kCross) {
        const auto difference = hn::Sub(x, hn::MulSub(hn::LoadU(kTag, other_row + j), other_factor, middle));
        if constexpr (kColumns) column_cross = hn::MulAdd(e, difference, hn::LoadU(kTag, columns.cross + j));
        if constexpr (kRows) cross_sum = hn::Add(cross_sum, counted(hn::Mul(e, difference), dots.columns - j, last));
      }
      if constexpr (kColumns) hn::StoreU(column_sum, kTag, columns.sum + j);
      if constexpr (kColumns && kCross) hn::StoreU(column_cross, kTag, columns.cross + j);
    });
    if constexpr (kRows) rows.sum[i] = sum_of_lanes(kTag, sum);
    if constexpr (kRows && kCross) rows.cross[i] = sum_of_lanes(kTag, cross_sum);
  }
}

// Sums of R rows from row i on, every shift 0. One load and store of the columns' sums serves all of them.
template <int R, bool kCross>
HWY_INLINE void bounded_rows(Matrix<const float> dots, int64_t i, BoundedExp exponential, float scale,
                             Matrix<const float> other, float other_scale, ExpSums rows, ExpSums columns) {
  const auto factor = hn::Set(kTag, scale), other_factor = hn::Set(kTag, other_scale);
  const float *row[R], *other_row[R];
  FloatVector sum[R], cross_sum[R];
  for (int r = 0; r < R; ++r) {
    row[r] = dots.row(i + r);
    other_row[r] = kCross ? other.row(i + r) : nullptr;
    sum[r] = cross_sum[r] = hn::Zero(kTag);
  }
  for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
    auto column_sum = hn::LoadU(kTag, columns.sum + j),
         column_cross = kCross ? hn::LoadU(kTag, columns.cross + j) : hn::Zero(kTag);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const auto x = hn::LoadU(kTag, row[r] + j);
      const auto e = exponential(kTag, x);
      sum[r] = hn::Add(sum[r], counted(e, dots.columns - j, last));
      column_sum = hn::Add(column_sum, e);
      if constexpr (kCross) {
        const auto weighted =
            hn::Mul(e, hn::NegMulAdd(hn::LoadU(kTag, other_row[r] + j), other_factor, hn::Mul(x, factor)));
        cross_sum[r] = hn::Add(cross_sum[r], counted(weighted, dots.columns - j, last));
        column_cross = hn::Add(column_cross, weighted);
      }
    }
    hn::StoreU(column_sum, kTag, columns.sum + j);
    if constexpr (kCross) hn::StoreU(column_cross, kTag, columns.cross + j);
  });
  for (int r = 0; r < R; ++r) {
    rows.sum[i + r] = sum_of_lanes(kTag, sum[r]);
    if constexpr (kCross) rows.cross[i + r] = sum_of_lanes(kTag, cross_sum[r]);
  }
}

template <bool kCross>
void bounded_sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale, ExpSums rows,
                  ExpSums columns) {
  constexpr int kRows = 4;
  fill(rows.shift, dots.rows, 0);
  fill(columns.shift, dots.columns, 0);
  fill(columns.sum, padded(dots.columns), 0);
  if constexpr (kCross) fill(columns.cross, padded(dots.columns), 0);
  const BoundedExp exponential(scale);
  int64_t i = 0;
  for (; i + kRows <= dots.rows; i += kRows)
    bounded_rows<kRows, kCross>(dots, i, exponential, scale, other, other_scale, rows, columns);
  for (; i < dots.rows; ++i) bounded_rows<1, kCross>(dots, i, exponential, scale, other, other_scale, rows, columns);
}

template <bool kCross>
float shifted_sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale, float centre,
                   ExpSums rows, ExpSums columns) {
  const Signed of(scale);
  maxima(dots, of.sign, rows.shift, columns.shift);
  float largest = 0;
  if (choose_shifts(dots, of.size, rows.shift, columns.shift, largest)) {
    sums<true, true, kCross>(dots, scale, other, other_scale, centre, rows, columns);
    // A row or column whose scores are all left out gets a left-out score as its shift, so that merging takes it for
    // none: another tile's scores may lie far below this one's.
    const float nothing = std::max(kLeftOut / of.size, std::numeric_limits<float>::lowest());
    for (int64_t i = 0; i < dots.rows; ++i) rows.shift[i] = rows.sum[i] == 0 ? nothing : rows.shift[i];
    for (int64_t j = 0; j < dots.columns; ++j) columns.shift[j] = columns.sum[j] == 0 ? nothing : columns.shift[j];
  } else {
    sums<true, false, kCross>(dots, scale, other, other_scale, centre, rows, columns);
    sums<false, true, kCross>(dots, scale, other, other_scale, centre, rows, columns);
  }
  for (int64_t i = 0; i < dots.rows; ++i) rows.shift[i] *= of.sign;
  for (int64_t j = 0; j < dots.columns; ++j) columns.shift[j] *= of.sign;
  const float score = largest * of.size;
  return std::isfinite(score) ? score : 0;
}

// One pass of the gradient; with both directions the shift is one number for the tile and the weights are already
// relative to it. An exponential is at most e^most: a probability is at most 1 however its log-sum-exp was rounded, and
// what has no weight adds nothing though it be NaN or infinite.
template <bool kRows, bool kColumns, Accumulate kAccumulate>
void gradient_pass(Matrix<const float> dots, float scale, const float* row_shift, const float* column_shift,
                   float shift, const float* row_weight, const float* column_weight, Matrix<float> gradient) {
  constexpr float kMost = kRows && kColumns ? 60 : 0;
  const auto factor = hn::Set(kTag, scale), most = hn::Set(kTag, kMost);
  for (int64_t i = 0; i < dots.rows; ++i) {
    const float* row = dots.row(i);
    float* to = gradient.row(i);
    const auto shift_i = hn::Set(kTag, kRows ? (kColumns ? shift : row_shift[i]) : 0);
    const auto weight_i = hn::Set(kTag, kRows ? row_weight[i] : 0);
    for_each_vector(dots.columns, [&](int64_t j, auto) HWY_ATTR {
      const auto x = hn::MulSub(hn::LoadU(kTag, row + j), factor, kRows ? shift_i : hn::LoadU(kTag, column_shift + j));
      const auto e = exp_at_most(kTag, x, most);
      auto weight = weight_i;
      if constexpr (kColumns)
        weight = kRows ? hn::Add(weight_i, hn::LoadU(kTag, column_weight + j)) : hn::LoadU(kTag, column_weight + j);
      hn::StoreU(kAccumulate == Accumulate::yes ? hn::MulAdd(e, weight, hn::LoadU(kTag, to + j)) : hn::Mul(e, weight),
                 kTag, to + j);
    });
  }
}

// weight e^{shift - log_sum}, 0 without a weight; reads and writes padded(count) elements in steps of a vector, so
// log_sum is copied in first.
void shift_weights(SoftmaxWeights side, float shift, int64_t count, float* out) {
  const auto weigh = [shift](auto log_sum, auto weight) HWY_ATTR {
    return hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(kTag)),
                              hn::Mul(exp(kTag, hn::Sub(hn::Set(kTag, shift), log_sum)), weight));
  };
  for_each_vector(count, [&](int64_t k, auto last) HWY_ATTR {
    const size_t rest = static_cast<size_t>(count - k);
    if constexpr (decltype(last)::value) {  // the arrays of rows are not padded
      for (size_t l = 0; l < rest; ++l) {
        const int64_t at = k + static_cast<int64_t>(l);
        out[at] = hn::GetLane(weigh(hn::Set(kTag, side.log_sum[at]), hn::Set(kTag, side.weight[at])));
      }
    } else {
      hn::StoreU(weigh(hn::LoadU(kTag, side.log_sum + k), hn::LoadU(kTag, side.weight + k)), kTag, out + k);
    }
  });
}

template <Accumulate kAccumulate>
void gradient(Matrix<const float> dots, float scale, SoftmaxWeights rows, SoftmaxWeights columns, float* factors,
              Matrix<float> out) {
  if (!columns.weight)
    return gradient_pass<true, false, kAccumulate>(dots, scale, rows.log_sum, nullptr, 0, rows.weight, nullptr, out);
  if (!rows.weight)
    return gradient_pass<false, true, kAccumulate>(dots, scale, nullptr, columns.log_sum, 0, nullptr, columns.weight,
                                                   out);
  // A score is at most its row's and its column's log-sum-exp. With those within 2 * 40 of each other and the shift in
  // the middle, exponentials stay below e^40 and the weights' factors within e^+-40: no overflow, and what underflows
  // was below e^-47 of a probability.
  // Of large ones rounding alone would make probabilities beyond 1, which passes of their own cut off.
  constexpr float kWidest = 80, kLargest = 1e4f;
  float low = std::numeric_limits<float>::infinity(), high = -low;
  bool known = true;
  const auto widen = [&](float value, float weight) {
    if (weight == 0) return;
    known = known && std::isfinite(value);
    low = value < low ? value : low;
    high = value > high ? value : high;
  };
  for (int64_t i = 0; i < dots.rows; ++i) widen(rows.log_sum[i], rows.weight[i]);
  for (int64_t j = 0; j < dots.columns; ++j) widen(columns.log_sum[j], columns.weight[j]);
  if (known && high - low <= kWidest && std::max(std::abs(low), std::abs(high)) <= kLargest) {
    const float shift = low <= high ? low + 0.5f * (high - low) : 0;
    float* row_weight = factors + padded(dots.columns);
    shift_weights(columns, shift, dots.columns, factors);
    shift_weights(rows, shift, dots.rows, row_weight);
    gradient_pass<true, true, kAccumulate>(dots, scale, nullptr, nullptr, shift, row_weight, factors, out);
  } else {
    gradient_pass<true, false, kAccumulate>(dots, scale, rows.log_sum, nullptr, 0, rows.weight, nullptr, out);
    gradient_pass<false, true, Accumulate::yes>(dots, scale, nullptr, columns.log_sum, 0, nullptr, columns.weight, out);
  }
}

}  // namespace

float norm_bound_target(Matrix<const float> rows) {
  float largest = 0;
  for (int64_t i = 0; i < rows.rows; ++i) {
    auto sum = hn::Zero(kTag);
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(kTag));
    int64_t k = 0;
    for (; k + lanes <= rows.columns; k += lanes) {
      const auto x = hn::LoadU(kTag, rows.row(i) + k);
      sum = hn::MulAdd(x, x, sum);
    }
    float square = sum_of_lanes(kTag, sum);
    for (; k < rows.columns; ++k) square += rows.row(i)[k] * rows.row(i)[k];
    if (std::isnan(square)) return square;
    largest = square > largest ? square : largest;
  }
  return 1.001f * std::sqrt(largest);
}

void bounded_exp_sums_target(Matrix<const float> dots, float scale, ExpSums rows, ExpSums columns) {
  bounded_sums<false>(dots, scale, {}, 0, rows, columns);
}

void bounded_exp_cross_sums_target(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale,
                                   ExpSums rows, ExpSums columns) {
  bounded_sums<true>(dots, scale, other, other_scale, rows, columns);
}

float exp_sums_target(Matrix<const float> dots, float scale, ExpSums rows, ExpSums columns) {
  return shifted_sums<false>(dots, scale, {}, 0, 0, rows, columns);
}

void exp_cross_sums_target(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale,
                           float centre, ExpSums rows, ExpSums columns) {
  shifted_sums<true>(dots, scale, other, other_scale, centre, rows, columns);
}

void softmax_gradient_target(Matrix<const float> dots, float scale, SoftmaxWeights rows, SoftmaxWeights columns,
                             Accumulate accumulate, float* factors, Matrix<float> out) {
  if (accumulate == Accumulate::yes)
    gradient<Accumulate::yes>(dots, scale, rows, columns, factors, out);
  else
    gradient<Accumulate::no>(dots, scale, rows, columns, factors, out);
}

double scale_gradient_target(Matrix<const float> dots, float scale, Matrix<float> out) {
  const auto factor = hn::Set(kTag, scale);
  double total = 0;
  for (int64_t i = 0; i < dots.rows; ++i) {
    auto sum = hn::Zero(kTag);
    for_each_vector(dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const auto g = hn::LoadU(kTag, out.row(i) + j);
      const auto term = hn::IfThenZeroElse(hn::Eq(g, hn::Zero(kTag)),
                                           hn::Mul(g, hn::LoadU(kTag, dots.row(i) + j)));  // the dot may be infinite
      sum = hn::Add(sum, counted(term, dots.columns - j, last));
      hn::StoreU(hn::Mul(g, factor), kTag, out.row(i) + j);
    });
    total += sum_of_lanes(kTag, sum);
  }
  return total;
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {

HWY_EXPORT(norm_bound_target);
HWY_EXPORT(bounded_exp_sums_target);
HWY_EXPORT(bounded_exp_cross_sums_target);
HWY_EXPORT(exp_sums_target);
HWY_EXPORT(exp_cross_sums_target);
HWY_EXPORT(softmax_gradient_target);
HWY_EXPORT(scale_gradient_target);

float norm_bound(const duet_context& context, Matrix<const float> rows) {
  constexpr int64_t kRows = 512;    // of a work item
  constexpr float kLeast = 1e-15f;  // the root of what a float32 square keeps its digits from
  // Bits of numbers that are not negative compare as the numbers do, NaN's above all: the largest, whoever comes first.
  std::atomic<uint32_t> largest{std::bit_cast<uint32_t>(kLeast)};
  parallel_chunks(context, rows.rows, kRows, [&](int64_t first, int64_t count, int) {
    const float bound = std::abs(HWY_DYNAMIC_DISPATCH(norm_bound_target)(rows.part(first, 0, count, rows.columns)));
    const uint32_t bits = std::bit_cast<uint32_t>(bound);
    for (uint32_t seen = largest.load(); seen < bits && !largest.compare_exchange_weak(seen, bits);) {
    }
  });
  return std::bit_cast<float>(largest.load());
}

void bounded_exp_sums(Matrix<const float> dots, float scale, ExpSums rows, ExpSums columns) {
  HWY_DYNAMIC_DISPATCH(bounded_exp_sums_target)(dots, scale, rows, columns);
}

void bounded_exp_cross_sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale,
                            ExpSums rows, ExpSums columns) {
  HWY_DYNAMIC_DISPATCH(bounded_exp_cross_sums_target)(dots, scale, other, other_scale, rows, columns);
}

float exp_sums(Matrix<const float> dots, float scale, ExpSums rows, ExpSums columns) {
  return HWY_DYNAMIC_DISPATCH(exp_sums_target)(dots, scale, rows, columns);
}

void exp_cross_sums(Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale, float centre,
                    ExpSums rows, ExpSums columns) {
  HWY_DYNAMIC_DISPATCH(exp_cross_sums_target)(dots, scale, other, other_scale, centre, rows, columns);
}

void softmax_gradient(Matrix<const float> dots, float scale, SoftmaxWeights rows, SoftmaxWeights columns,
                      Accumulate accumulate, float* factors, Matrix<float> gradient) {
  HWY_DYNAMIC_DISPATCH(softmax_gradient_target)(dots, scale, rows, columns, accumulate, factors, gradient);
}

double scale_gradient(Matrix<const float> dots, float scale, Matrix<float> gradient) {
  return HWY_DYNAMIC_DISPATCH(scale_gradient_target)(dots, scale, gradient);
}

}  // namespace duet::cpu
#endif
