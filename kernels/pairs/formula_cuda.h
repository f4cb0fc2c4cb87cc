// The tiles of a formula of pairs (operation.h) on the GPU, for the sweeps of driver_cuda.h: which pairs of a tile are
// positive or negative, the sums that a formula asks for, and its gradient. F is float.
//
// 64 registers a thread hold the tile's dots, 64 the exponents of a sum.
#pragma once

#include "kernels/pairs/relation_cuda.h"

namespace duet::cuda {

// The operands of a formula's tiles. Relation: RelationView, or SetRelationView.
template <class Relation>
struct FormulaView {
  Packed a, v;
  const float* scale;
  Relation relation;
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
template <class Formula, class Relation>
struct FormulaForward {
  static constexpr bool kAlone = true;
  Formula formula;
  FormulaView<Relation> view;
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
template <class Formula, class Relation>
struct FormulaLater {
  static constexpr bool kAlone = true;
  Formula formula;
  FormulaView<Relation> view;
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
template <class Formula, class Relation>
struct FormulaGradient {
  Formula formula;
  FormulaView<Relation> view;
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
      row = make_float4(weight ? checked_weight(weight.data[i], of, count) : 0, of[0], count > 1 ? of[1] : 0,
                        count > 2 ? of[2] : 0);
    }
    to[i] = row;
  }
};

}  // namespace duet::cuda
