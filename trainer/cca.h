// Canonical correlation analysis: the linear baselines that the trained encoders are measured against. In float64.
//   CCA          Hotelling, "Relations between two sets of variates", Biometrika 28 (1936): directions u, v of the two
//                sides whose projections correlate most over the pairs (x_i, y_i); the next ones are uncorrelated with
//                those before.
//   cluster-CCA  Rasiwasia, Mahajan, Mahadevan, Aggarwal, "Cluster Canonical Correlation Analysis", AISTATS 2014: the
//                same over all pairs (x_i, y_j) whose rows have one label. Of n_c rows a class, M = sum of n_c^2 pairs,
//                all sums over pairs are sums over rows: a row has the weight n_c / M, and the cross-covariance is
//                sum_c (sum_i (x_i - m)) (sum_j (y_j - m'))^T / M.
// Regularised (Vinod 1976): each side's covariance C becomes C + ridge (trace C / columns) I, so that ridge does not
// depend on the inputs' units.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace duet {

// Below it a covariance that is not of full rank cannot be told from one that is not positive.
inline constexpr double kLeastRidge = 1e-9;
inline constexpr double kDefaultRidge = 0.1;
// A side's covariance has as many columns as the side has columns or the split has rows, whichever is less: 512 MiB.
inline constexpr int64_t kWidestCca = 8192;
// The singular values of a wider matrix are those of a block Krylov space.
inline constexpr int64_t kWidestExactCca = 1024;

struct CcaOptions {
  bool clusters = false;  // cluster-CCA
  int64_t dim = 64;       // directions wanted
  double ridge = kDefaultRidge;
  int64_t widest_exact = kWidestExactCca;
};

class Cca {
 public:
  // a, v: of equal rows, a pair each. labels: one a row, below 0: none; CCA does not look at them, cluster-CCA passes
  // over rows without one. Columns without variance and linear dependences are no harm.
  // Throws Error(DUET_STATUS_INVALID_ARGUMENT), one line without the data's name: fewer than two rows (cluster-CCA:
  // labelled rows of fewer than two classes), a side wider than kWidestCca, rows of which nothing correlates.
  // Time: n (p^2 + q^2 + p q) for the covariances of p and q columns, (min(n, p))^3 and the like for the rest. Memory:
  // p^2 + q^2 + p q float64 numbers, of p above n n^2 + n p; the rows are turned into float64 a block at a time.
  Cca(const data::Features& a, const data::Features& v, std::span<const int32_t> labels, const CcaOptions& options);

  // Directions found: at most those wanted, and no more than correlate beyond rounding. Of CCA these are at most the
  // lesser rank of the two sides, of cluster-CCA also at most one less than there are classes.
  int64_t dim() const { return static_cast<int64_t>(correlations_.size()); }
  // Of each direction, descending, in (0, 1]; with the ridge counted in the variances.
  const std::vector<double>& correlations() const { return correlations_; }
  // Rows of norm 1 (METHOD.md 1), dim() columns: side 0 is a, 1 is v. features: of the columns that the side had.
  data::Features embed(int side, const data::Features& features) const;

 private:
  struct Side {
    std::vector<double> mean;        // a value a column
    std::vector<double> directions;  // columns x dim(), a direction after another
  };
  std::array<Side, data::kModalities> sides_;
  std::vector<double> correlations_;
};

}  // namespace duet
