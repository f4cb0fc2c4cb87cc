// A loss that is a formula (operation.h) on the CPU: forward and backward over a relation of pairs. The formula's
// functions of one row run here; those of a pair run a tile at a time, in Tiles, an object with
//   void sums(const PairTile&, const Matrix<float>* exponents, PairSums rows, PairSums columns) const
//   void later_sums(const PairTile&, const PairStatistics&, PairSums rows, PairSums columns) const
//   double gradient(const PairTile&, const PairStatistics&, const float* row_weight, const float* column_weight,
//                   Matrix<float> gradient) const
// which formula_tile-inl.h has, compiled once a SIMD target.
#pragma once

#include "kernels/pairs/driver_cpu.h"
#include "kernels/pairs/formula_tile_cpu.h"
#include "kernels/pairs/merged_sums_cpu.h"
#include "kernels/pairs/operation.h"
#include "kernels/pairs/plain_sums_cpu.h"
#include "kernels/pairs/related_pairs_cpu.h"

namespace duet::cpu {

struct PairLosses {
  Vector<float> row, column;
  Matrix<float> row_statistics, column_statistics;  // at least the formula's columns; those beyond are set to 0
  // MergedSums, in the place of that side's losses and statistics; of a formula of one sweep.
  Matrix<double> row_sums = {}, column_sums = {};
};

// Of exponents less than a quarter of kLeftOut there are none: what was left out is all there is.
inline double log_of_taken(const LogSum& sum) {
  const double log = sum.log();
  return log < kLeftOut / 4 ? -HUGE_VAL : log;
}

// The statistics of a row with these sums, `columns` numbers, and its loss, 0 where that needs later sums.
template <class Formula>
float close_sums(const Formula& formula, const MergedSums& sums, float* statistics, int64_t columns) {
  static_assert(Formula::kLogSums <= MergedSums::kLogSums && Formula::kSums <= MergedSums::kPlain);
  double log_sums[Formula::kLogSums];
  for (int k = 0; k < Formula::kLogSums; ++k) log_sums[k] = log_of_taken(sums.log[k]);
  std::fill_n(statistics, columns, 0.0f);
  formula.close(log_sums, sums.plain, statistics);
  if constexpr (Formula::kLaterSums > 0) return 0;
  return static_cast<float>(formula.loss(log_sums, sums.plain, nullptr, statistics));
}

struct PairGradients {
  Matrix<const float> row_statistics, column_statistics;
  Vector<const float> row_weight, column_weight;  // without data: 0
  float factor_a, factor_v;
  Matrix<float> a, v;
  Vector<float> scale;
};

template <class Formula, class Tiles>
class FormulaSweep {
 public:
  FormulaSweep(Workspace& workspace, const duet_context& context, const RelatedPairs& pairs, const Formula& formula,
               const Tiles& tiles)
      : context_(context),
        pairs_(pairs),
        formula_(formula),
        tiles_(tiles),
        n_(pairs.a.rows),
        m_(pairs.v.rows),
        sweep_(n_, m_, Sweep::kNarrow),
        scores_(workspace, sweep_, pairs.v.columns),
        thread_tiles_(workspace, context, sweep_, 1 + Formula::kLogSums),
        sums_(workspace, context, sweep_, n_, m_, Formula::kSums),
        later_sums_(workspace, context, sweep_, n_, m_, Formula::kLaterSums),
        gradient_(workspace, sweep_),
        products_(workspace, context, n_, sweep_.block_rows(), sweep_.block_columns(), pairs.a.columns),
        numbers_(workspace, context, sweep_, pairs) {
    static_assert(Formula::kStatistics <= kMostStatistics);
    for (int k = 0; k < Formula::kLogSums; ++k) log_sums_[k] = SoftmaxSweep(workspace, context, sweep_, n_, m_);
    for (int k = 0; k < Formula::kStatistics; ++k) column_statistics_[k] = workspace.take<float>(padded(m_));
    row_weight_ = workspace.take<float>(n_), column_weight_ = workspace.take<float>(padded(m_));
  }

  void forward(const PairLosses& out) {
    begin();
    pairs_forward(context_, sweep_, n_, m_, FirstSweep{*this, out});
    if constexpr (Formula::kLaterSums > 0) {
      spread(out.column_statistics);
      later_sums_.begin();
      pairs_forward(context_, sweep_, n_, m_, LaterSweep{*this, out});
    }
  }

  void backward(const PairGradients& out) {
    begin();
    spread(out.column_statistics);
    const auto weigh = [](Vector<const float> weight, Matrix<const float> statistics, int64_t count, float* to) {
      for (int64_t k = 0; k < count; ++k)
        to[k] = weight ? checked_weight(weight[k], statistics.row(k), Formula::kStatistics) : 0;
    };
    weigh(out.row_weight, out.row_statistics, n_, row_weight_);
    weigh(out.column_weight, out.column_statistics, m_, column_weight_);
    products_.begin(pairs_.a, pairs_.v, out.a, out.v, out.factor_a, out.factor_v);
    const float by_scale = pairs_backward(context_, sweep_, gradient_, BackwardSweep{*this, out});
    if (out.scale) out.scale[0] += by_scale;
  }

 private:
  static constexpr bool kOneSweep = Formula::kLaterSums == 0;

  struct FirstSweep {
    FormulaSweep& of;
    const PairLosses& out;

    void pack(const Block& block) { of.pack(block); }
    void take(const Tile& tile, int thread) {
      Matrix<float> exponents[Formula::kLogSums];
      for (int k = 0; k < Formula::kLogSums; ++k) exponents[k] = of.thread_tiles_.tile(tile, thread, 1 + k);
      of.tiles_.sums(of.fill(tile, thread), exponents, of.sums_.of_rows(thread), of.sums_.of_columns(tile));
      of.sums_.take(tile, thread);
      for (int k = 0; k < Formula::kLogSums; ++k) of.log_sums_[k].take(tile, thread, exponents[k]);
    }
    void merge(const Block& block) {
      of.sums_.merge(of.context_, block);
      for (SoftmaxSweep& sums : of.log_sums_) sums.merge(of.context_, block);
    }
    void row(int64_t i) {
      MergedSums sums;
      for (int k = 0; k < Formula::kLogSums; ++k) sums.log[k] = of.log_sums_[k].row(i);
      std::copy_n(of.sums_.row(i), Formula::kSums, sums.plain);
      close(sums, out.row_sums, out.row_statistics, out.row, i);
    }
    void column(int64_t j) {
      MergedSums sums;
      for (int k = 0; k < Formula::kLogSums; ++k) sums.log[k] = of.log_sums_[k].column(j);
      std::copy_n(of.sums_.column(j), Formula::kSums, sums.plain);
      close(sums, out.column_sums, out.column_statistics, out.column, j);
    }
    void close(const MergedSums& sums, Matrix<double> to, Matrix<float> statistics, Vector<float> losses, int64_t k) {
      if (to) return sums.store(to.row(k));
      const float loss = close_sums(of.formula_, sums, statistics.row(k), statistics.columns);
      if (kOneSweep) losses[k] = loss;
    }
  };

  struct LaterSweep {
    FormulaSweep& of;
    const PairLosses& out;

    void pack(const Block& block) { of.pack(block); }
    void take(const Tile& tile, int thread) {
      of.tiles_.later_sums(of.fill(tile, thread), of.statistics(tile, out.row_statistics),
                           of.later_sums_.of_rows(thread), of.later_sums_.of_columns(tile));
      of.later_sums_.take(tile, thread);
    }
    void merge(const Block& block) { of.later_sums_.merge(of.context_, block); }
    void row(int64_t i) {
      double log_sums[Formula::kLogSums];
      for (int k = 0; k < Formula::kLogSums; ++k) log_sums[k] = log_of_taken(of.log_sums_[k].row(i));
      out.row[i] = static_cast<float>(
          of.formula_.loss(log_sums, of.sums_.row(i), of.later_sums_.row(i), out.row_statistics.row(i)));
    }
    void column(int64_t j) {
      double log_sums[Formula::kLogSums];
      for (int k = 0; k < Formula::kLogSums; ++k) log_sums[k] = log_of_taken(of.log_sums_[k].column(j));
      out.column[j] = static_cast<float>(
          of.formula_.loss(log_sums, of.sums_.column(j), of.later_sums_.column(j), out.column_statistics.row(j)));
    }
  };

  struct BackwardSweep {
    FormulaSweep& of;
    const PairGradients& out;

    void pack(const Block& block) { of.pack(block); }
    double form(const Tile& tile, int thread, Matrix<float> gradient) {
      return of.tiles_.gradient(of.fill(tile, thread), of.statistics(tile, out.row_statistics),
                                of.row_weight_ + tile.first_row, of.column_weight_ + tile.first_column, gradient);
    }
    void add(const Block& block, Matrix<float> gradient) { of.products_.add(of.context_, block, gradient); }
  };

  void begin() {
    for (SoftmaxSweep& sums : log_sums_) sums.begin(HUGE_VALF, 1);  // exponents have no bound
    sums_.begin();
    numbers_.begin(pairs_);
  }
  void pack(const Block& block) { scores_.pack(context_, block, pairs_.v); }

  PairTile fill(const Tile& tile, int thread) const {
    const Matrix<float> dots = thread_tiles_.tile(tile, thread);
    scores_.fill(tile, pairs_.a, dots);
    return numbers_.tile(pairs_, tile, thread, dots);
  }

  // The columns' statistics, each kind in a run of its own.
  void spread(Matrix<const float> columns) {
    for (int64_t j = 0; j < m_; ++j)
      for (int k = 0; k < Formula::kStatistics; ++k) column_statistics_[k][j] = columns.row(j)[k];
  }
  PairStatistics statistics(const Tile& tile, Matrix<const float> rows) const {
    PairStatistics out{rows.part(tile.first_row, 0, tile.rows, rows.columns), {}};
    for (int k = 0; k < Formula::kStatistics; ++k) out.columns[k] = column_statistics_[k] + tile.first_column;
    return out;
  }

  const duet_context& context_;
  const RelatedPairs& pairs_;
  Formula formula_;
  Tiles tiles_;
  int64_t n_, m_;
  Sweep sweep_;
  BlockScores scores_;
  ThreadTiles thread_tiles_;  // the dots, and the exponents
  SoftmaxSweep log_sums_[Formula::kLogSums];
  PlainSums sums_, later_sums_;
  ScoreGradient gradient_;
  BlockGradients products_;
  PairNumbers numbers_;
  float* column_statistics_[Formula::kStatistics];  // m each
  float *row_weight_, *column_weight_;              // n, m
};

}  // namespace duet::cpu
