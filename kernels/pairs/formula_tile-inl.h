// A formula (operation.h) over one tile of pairs on the CPU, a vector of columns at a time. Compiled once a SIMD
// target, by the file that lists the formulas.
#if defined(DUET_PAIRS_FORMULA_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_PAIRS_FORMULA_TILE_INL_H_
#undef DUET_PAIRS_FORMULA_TILE_INL_H_
#else
#define DUET_PAIRS_FORMULA_TILE_INL_H_
#endif

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/softmax_tile.h"
#include "kernels/pairs/formula_tile_cpu.h"
#include "kernels/pairs/operation.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

// The pairs of one row of a tile.
class PairRow {
 public:
  using Integer = hn::RebindToSigned<FloatTag>;

  HWY_INLINE PairRow(const PairTile& tile, int64_t r)
      : tile_(tile),
        dots_(tile.dots.row(r)),
        column_group_(tile.column_group + r * tile.group_stride),
        label_(hn::Set(Integer(), tile.row_label[r])),
        group_(hn::Set(Integer(), tile.row_group[r])),
        scale_(tile.scale) {
    const int64_t own = r + tile.own_offset;
    own_ = hn::Set(Integer(), own >= 0 && own < tile.dots.columns ? static_cast<int32_t>(own) : -1);
  }

  // Of the columns from j on. What lies past the tile's end means nothing.
  HWY_INLINE Pair<Lanes> pair(int64_t j) const {
    const Integer d;
    const auto none = hn::Set(d, -1), label = hn::LoadU(d, tile_.column_label + j);
    const auto own = hn::Eq(hn::Iota(d, static_cast<int32_t>(j)), own_);
    auto positive = hn::Or(hn::Eq(label, label_), hn::Eq(hn::LoadU(d, column_group_ + j), group_));
    if (!tile_.exclude_own) positive = hn::Or(positive, own);
    const auto labelled = hn::And(hn::Gt(label, none), hn::Gt(label_, none));
    auto negative = hn::AndNot(positive, labelled);
    if (tile_.exclude_own) positive = hn::AndNot(own, positive), negative = hn::AndNot(own, negative);
    return {Lanes(hn::LoadU(kTag, dots_ + j)), scale_, one_where(positive), one_where(negative)};
  }

 private:
  static HWY_INLINE Lanes one_where(hn::Mask<Integer> mask) {
    return Lanes(hn::IfThenElseZero(hn::RebindMask(kTag, mask), hn::Set(kTag, 1.0f)));
  }

  const PairTile& tile_;
  const float* dots_;
  const int32_t* column_group_;
  hn::Vec<Integer> label_, group_, own_;
  Lanes scale_;
};

// kCount sums along the rows and along the columns of what terms(pair, r, j, by_row, by_column) gives to either.
template <int kCount, class Terms>
HWY_INLINE void sum_terms(const PairTile& tile, PairSums rows, PairSums columns, Terms&& terms) {
  constexpr int kRoom = kCount > 0 ? kCount : 1;
  for (int k = 0; k < kCount; ++k) fill(columns.sum + k * columns.stride, padded(tile.dots.columns), 0);
  for (int64_t r = 0; r < tile.dots.rows; ++r) {
    const PairRow row(tile, r);
    Lanes sum[kRoom];
    for (Lanes& one : sum) one = Lanes(0.0f);
    for_each_vector(tile.dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      Lanes by_row[kRoom], by_column[kRoom];
      terms(row.pair(j), r, j, by_row, by_column);
      for (int k = 0; k < kCount; ++k) {
        float* column = columns.sum + k * columns.stride + j;
        sum[k] = sum[k] + Lanes(counted(by_row[k].v, tile.dots.columns - j, last));
        hn::StoreU(hn::Add(hn::LoadU(kTag, column), by_column[k].v), kTag, column);
      }
    });
    for (int k = 0; k < kCount; ++k) rows.sum[k * rows.stride + r] = sum_of_lanes(kTag, sum[k].v);
  }
}

// exponents[k], k < kLogSums: tiles.
template <class Formula>
void formula_sums(const Formula& formula, const PairTile& tile, const Matrix<float>* exponents, PairSums rows,
                  PairSums columns) {
  sum_terms<Formula::kSums>(tile, rows, columns,
                            [&](const Pair<Lanes>& pair, int64_t r, int64_t j, Lanes* by_row, Lanes* by_column)
                                HWY_ATTR {
                                  Lanes x[Formula::kLogSums];
                                  formula.exponents(pair, x);
                                  for (int k = 0; k < Formula::kLogSums; ++k)
                                    hn::StoreU(x[k].v, kTag, exponents[k].row(r) + j);
                                  formula.sums(pair, by_row);
                                  for (int k = 0; k < Formula::kSums; ++k) by_column[k] = by_row[k];
                                });
}

template <int kCount>
HWY_INLINE void load_row(const float* from, Lanes* to) {
  for (int k = 0; k < kCount; ++k) to[k] = Lanes(from[k]);
}
template <int kCount>
HWY_INLINE void load_columns(const float* const* from, int64_t j, Lanes* to) {
  for (int k = 0; k < kCount; ++k) to[k] = Lanes(hn::LoadU(kTag, from[k] + j));
}

template <class Formula>
void formula_later_sums(const Formula& formula, const PairTile& tile, const PairStatistics& statistics, PairSums rows,
                        PairSums columns) {
  constexpr int kCount = Formula::kStatistics;
  sum_terms<Formula::kLaterSums>(tile, rows, columns,
                                 [&](const Pair<Lanes>& pair, int64_t r, int64_t j, Lanes* by_row, Lanes* by_column)
                                     HWY_ATTR {
                                       Lanes of_row[kCount], of_column[kCount];
                                       load_row<kCount>(statistics.rows.row(r), of_row);
                                       load_columns<kCount>(statistics.columns, j, of_column);
                                       formula.later_sums(pair, of_row, by_row);
                                       formula.later_sums(pair, of_column, by_column);
                                     });
}

// gradient = d loss/d dots of the tile, by rows and by columns; returns the tile's part of d loss/d scale. Weights take
// part as checked_weight says.
template <class Formula>
double formula_gradient(const Formula& formula, const PairTile& tile, const PairStatistics& statistics,
                        const float* row_weight, const float* column_weight, Matrix<float> gradient) {
  const auto zero = hn::Zero(kTag);
  const auto weighted = [zero](hn::Vec<FloatTag> weight, Lanes slope)
                            HWY_ATTR { return hn::IfThenZeroElse(hn::Eq(weight, zero), hn::Mul(weight, slope.v)); };
  double total = 0;
  for (int64_t r = 0; r < tile.dots.rows; ++r) {
    const PairRow row(tile, r);
    const auto weight_r = hn::Set(kTag, row_weight[r]);
    Lanes of_row[Formula::kStatistics];
    load_row<Formula::kStatistics>(statistics.rows.row(r), of_row);
    auto sum = zero;
    for_each_vector(tile.dots.columns, [&](int64_t j, auto last) HWY_ATTR {
      const Pair<Lanes> pair = row.pair(j);
      Lanes of_column[Formula::kStatistics];
      load_columns<Formula::kStatistics>(statistics.columns, j, of_column);
      const auto weight_c = hn::LoadU(kTag, column_weight + j);
      const Slope<Lanes> by_row = formula.slope(pair, of_row), by_column = formula.slope(pair, of_column);
      // A pair that is neither takes no part, though a weight be infinite.
      const auto neither = hn::Eq(hn::Add(pair.positive.v, pair.negative.v), zero);
      const auto by_dot = hn::Add(weighted(weight_r, by_row.by_dot), weighted(weight_c, by_column.by_dot));
      hn::StoreU(hn::IfThenZeroElse(neither, by_dot), kTag, gradient.row(r) + j);
      const auto by_scale = hn::Add(weighted(weight_r, by_row.by_scale), weighted(weight_c, by_column.by_scale));
      sum = hn::Add(sum, counted(hn::IfThenZeroElse(neither, by_scale), tile.dots.columns - j, last));
    });
    total += sum_of_lanes(kTag, sum);
  }
  return total;
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
