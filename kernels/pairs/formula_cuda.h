// The tiles of a formula of pairs (operation.h) on the GPU, for the sweeps of driver_cuda.h: which pairs of a tile are
// positive or negative, the sums that a formula asks for, and its gradient. F is float.
//
// A pair's relation comes from two numbers a row, its label and its group, and is held as two bits a pair, so that the
// passes over a tile read it without memory. 64 registers a thread hold the tile's dots, 64 the exponents of a sum.
#pragma once

#include "kernels/pairs/driver_cuda.h"
#include "kernels/pairs/operation.h"

namespace duet::cuda {

// Which pairs are one item: own pairs (but with exclude_own), pairs of one group, pairs labelled alike.
struct RelationView {
  const int2 *a, *v;  // packed_rows each: label and group; where there is none -1 in a and -2 in v, equal to nothing
  bool labelled;      // there are labels: a pair is negative where both of it have one
  bool exclude_own;
  int64_t own;  // row i and column i + own are one pair
};

template <class T>
class TileRelation {
 public:
  __device__ __forceinline__ TileRelation(const RelationView& relation, const TilePlace& place) {
    const OwnPairs own_pair = own_pairs<T>(true, relation.own, place);
    int2 of_row[T::kThreadRows];
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) of_row[r] = __ldg(relation.a + place.first_row + T::row(r));
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const int2 of_column = __ldg(relation.v + place.first_column + T::column(c));
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        const bool own = own_pair.any && own_pair(T::row(r), T::column(c));
        const bool inside = T::row(r) < place.rows && T::column(c) < place.columns;
        const bool alike = (of_row[r].x == of_column.x) | (of_row[r].y == of_column.y);
        const bool apart = !alike & (of_row[r].x >= 0) & (of_column.x >= 0);
        const bool different = relation.labelled ? apart : !alike;
        const bool positive = inside && (own ? !relation.exclude_own : alike);
        const int k = r * T::kThreadColumns + c;
        positive_[k / 32] |= positive ? 1u << k % 32 : 0;
        negative_[k / 32] |= inside && !own && different ? 1u << k % 32 : 0;
      }
    }
  }
  __device__ __forceinline__ bool positive(int r, int c) const { return bit(positive_, r * T::kThreadColumns + c); }
  __device__ __forceinline__ bool negative(int r, int c) const { return bit(negative_, r * T::kThreadColumns + c); }
  // Whether one of the pairs of `rows` rows takes part.
  __device__ __forceinline__ bool any(int first, int rows) const {
    unsigned found = 0;
    DUET_UNROLL
    for (int k = first * T::kThreadColumns; k < (first + rows) * T::kThreadColumns; ++k)
      found |= (positive_[k / 32] | negative_[k / 32]) & 1u << k % 32;
    return found != 0;
  }
  // The pair of the thread's row r and column c.
  __device__ __forceinline__ Pair<float> pair(float dot, float scale, int r, int c) const {
    return {dot, scale, positive(r, c) ? 1.0f : 0.0f, negative(r, c) ? 1.0f : 0.0f};
  }

 private:
  using Bits = unsigned[T::kValues / 32];
  static __device__ __forceinline__ bool bit(const Bits& bits, int k) { return bits[k / 32] >> k % 32 & 1; }

  Bits positive_ = {}, negative_ = {};
};

// The operands of a formula's tiles.
struct FormulaView {
  Packed a, v;
  const float* scale;
  RelationView relation;
};

// One or two plain sums along the rows and columns of a tile; term(c)(r, of_row, of_column) writes what pair (r, c)
// adds to its row's and to its column's. All threads of the block.
template <class T, class Term>
__device__ __forceinline__ void accumulate_plain(uint32_t* shared, const TilePlace& place, const SweepPartials& to,
                                                 const Term& term) {
  float2 of_row[T::kThreadRows] = {}, of_column[T::kThreadColumns] = {};
  DUET_UNROLL
  for (int c = 0; c < T::kThreadColumns; ++c) {
    const auto of_pair = term(c);
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      float for_row[2] = {}, for_column[2] = {};
      of_pair(r, for_row, for_column);
      of_row[r] = make_float2(of_row[r].x + for_row[0], of_row[r].y + for_row[1]);
      of_column[c] = make_float2(of_column[c].x + for_column[0], of_column[c].y + for_column[1]);
    }
  }
  store_plain_sums<T>(shared, place, of_row, of_column, to);
}

// First sweep: log-sum-exps and plain sums.
template <class Formula>
struct FormulaForward {
  static constexpr bool kAlone = true;
  Formula formula;
  FormulaView view;
  SweepPartials log_sums[2], sums;

  int steps() const { return view.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values dots;
    T::multiply(loop, operands_of<T>(view.a, view.v, place, true),
                operands_of<T>(view.a, view.v, walk.place(tile + 1), true), dots);
    const TileRelation<T> relation(view.relation, place);
    const float scale = *view.scale;
    DUET_UNROLL
    for (int k = 0; k < Formula::kLogSums; ++k) {
      typename T::Values x;
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        DUET_UNROLL
        for (int c = 0; c < T::kThreadColumns; ++c) {
          float of_pair[2];
          formula.exponents(relation.pair(dots(r, c), scale, r, c), of_pair);
          x(r, c) = of_pair[k] == kLeftOut ? -INFINITY : __fmul_rn(of_pair[k], kLog2E);  // rounded, as scale_dots does
        }
      }
      accumulate_exponentials<T, false>(loop.scratch(), place, false, x, x, log_sums[k]);
    }
    if constexpr (Formula::kSums > 0) {
      accumulate_plain<T>(loop.scratch(), place, sums, [&](int c) {
        return [&, c](int r, float* of_row, float* of_column) {
          formula.sums(relation.pair(dots(r, c), scale, r, c), of_row);
          of_column[0] = of_row[0], of_column[1] = of_row[1];
        };
      });
    }
  }
};

// A row's or column's statistics, behind its upstream weight in the backward pass; 0 past the end.
struct FormulaRows {
  float4 *a, *v;  // packed_rows each
};
template <class Formula>
__device__ __forceinline__ void statistics_of(const float4& row, float* statistics) {
  static_assert(Formula::kStatistics <= 3);
  statistics[0] = row.y, statistics[1] = row.z, statistics[2] = row.w;
}

// Second sweep: plain sums that know the statistics.
template <class Formula>
struct FormulaLater {
  static constexpr bool kAlone = true;
  Formula formula;
  FormulaView view;
  FormulaRows statistics;
  SweepPartials sums;

  int steps() const { return view.a.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values dots;
    T::multiply(loop, operands_of<T>(view.a, view.v, place, true),
                operands_of<T>(view.a, view.v, walk.place(tile + 1), true), dots);
    const TileRelation<T> relation(view.relation, place);
    const float scale = *view.scale;
    float rows[T::kThreadRows][3];
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) statistics_of<Formula>(statistics.a[place.first_row + T::row(r)], rows[r]);
    accumulate_plain<T>(loop.scratch(), place, sums, [&](int c) {
      const float4 column = statistics.v[place.first_column + T::column(c)];
      return [&, c, column](int r, float* of_row, float* of_column) {
        float of[3];
        statistics_of<Formula>(column, of);
        const Pair<float> pair = relation.pair(dots(r, c), scale, r, c);
        formula.later_sums(pair, rows[r], of_row);
        formula.later_sums(pair, of, of_column);
      };
    });
  }
};

// Backward: d loss/d dot of a tile, and the tile's part of d loss/d scale.
template <class Formula>
struct FormulaGradient {
  Formula formula;
  FormulaView view;
  FormulaRows rows;
  GradientBlock gradient;
  double* scale_sums;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    typename T::Values dots;
    T::multiply(shared, operands_of<T>(view.a, view.v, place), dots);
    const TileRelation<T> relation(view.relation, place);
    const float scale = *view.scale;
    constexpr int kRows = kRowsOfGradient<T>;
    float scale_sum = 0;
    DUET_UNROLL
    for (int first = 0; first < T::kThreadRows; first += kRows) {
      if (!relation.any(first, kRows)) {  // a branch, past which the compiler does not reach for more registers
        DUET_UNROLL
        for (int c = 0; c < T::kThreadColumns; ++c) {
          DUET_UNROLL
          for (int r = 0; r < kRows; ++r) dots(first + r, c) = 0;
        }
        continue;
      }
      float weights[kRows], of_row[kRows][3];
      DUET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const float4 row = rows.a[place.first_row + T::row(first + r)];
        weights[r] = row.x;
        statistics_of<Formula>(row, of_row[r]);
      }
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        const float4 column = rows.v[place.first_column + T::column(c)];
        float of_column[3];
        statistics_of<Formula>(column, of_column);
        DUET_UNROLL
        for (int r = 0; r < kRows; ++r) {
          float& dot = dots(first + r, c);
          const Pair<float> pair = relation.pair(dot, scale, first + r, c);
          const Slope<float> by_row = formula.slope(pair, of_row[r]), by_column = formula.slope(pair, of_column);
          const float by_dot = product_or_zero(weights[r], by_row.by_dot) + product_or_zero(column.x, by_column.by_dot),
                      by_scale =
                          product_or_zero(weights[r], by_row.by_scale) + product_or_zero(column.x, by_column.by_scale);
          const bool taken = pair.positive + pair.negative > 0;
          scale_sum += taken ? by_scale : 0;
          dot = taken ? by_dot : 0;
        }
      }
    }
    store_tile<T>(gradient, place, dots);
    add_tile_sum(scale_sums, scale_sum);
  }
};

// What a direction's sums were merged to.
template <class Formula>
struct FormulaTotals {
  const RunningSum *log_sums[2], *sums, *later;

  // The statistics of row i from the first sweep; log_sums and sums: kLogSums and kSums numbers, at most 2.
  __device__ void close(const Formula& formula, int64_t i, double* of_logs, double* of_sums, float* statistics) const {
    for (int k = 0; k < Formula::kLogSums; ++k) of_logs[k] = log_sums[k][i].log();
    if constexpr (Formula::kSums > 0) of_sums[0] = sums[i].sum, of_sums[1] = sums[i].cross;
    formula.close(of_logs, of_sums, statistics);
  }
};

// The statistics that a second sweep reads.
template <class Formula>
struct CloseFormula {
  Formula formula;
  FormulaTotals<Formula> totals;
  int64_t count;
  float4* to;  // packed_rows

  __device__ void operator()(int64_t i) const {
    double log_sums[2] = {}, sums[2] = {};
    float statistics[3] = {};
    if (i < count) totals.close(formula, i, log_sums, sums, statistics);
    to[i] = make_float4(0, statistics[0], statistics[1], statistics[2]);
  }
};

// One direction's losses and statistics.
template <class Formula>
struct FinishFormula {
  Formula formula;
  FormulaTotals<Formula> totals;
  Vector<float> loss;
  Matrix<float> statistics;

  __device__ void operator()(int64_t i) const {
    double log_sums[2] = {}, sums[2] = {}, later[2] = {};
    float of_row[3] = {};
    totals.close(formula, i, log_sums, sums, of_row);
    if constexpr (Formula::kLaterSums > 0) later[0] = totals.later[i].sum, later[1] = totals.later[i].cross;
    loss.data[i] = static_cast<float>(formula.loss(log_sums, sums, later, of_row));
    for (int64_t k = 0; k < statistics.columns; ++k) statistics.row(i)[k] = of_row[k];
  }
};

// The rows that the backward pass reads; weight without data: 0.
struct StoreFormulaRows {
  Matrix<const float> statistics;  // at most 3 columns, of which the formula has the first
  int count;                       // of them
  Vector<const float> weight;
  float4* to;  // packed_rows

  __device__ void operator()(int64_t i) const {
    float4 row = make_float4(0, 0, 0, 0);
    if (i < statistics.rows) {
      const float* of = statistics.row(i);
      row = make_float4(weight ? weight_taking_part(weight.data[i], of, count) : 0, of[0], count > 1 ? of[1] : 0,
                        count > 2 ? of[2] : 0);
    }
    to[i] = row;
  }
};

// One side's labels and groups; none: what stands for one that is not there.
struct StoreRelation {
  Vector<const int32_t> labels, groups;  // without data: none
  int64_t count;
  int none;
  int2* to;  // packed_rows

  __device__ void operator()(int64_t i) const {
    const auto number = [&](const Vector<const int32_t>& of) {
      return i < count && of && of.data[i] >= 0 ? of.data[i] : none;
    };
    to[i] = make_int2(number(labels), number(groups));
  }
};

}  // namespace duet::cuda
