// Distances and softmax terms of the reference with the errors that METHOD.md grants them, for the operations that
// stand on them.
#pragma once

#include <algorithm>
#include <cmath>

#include "tests/backends/case.h"
#include "tests/reference/contrastive.h"

namespace duet::test::backends {

namespace reference = duet::reference;

// D of moved rows x (n x d) and y (m x d); METHOD.md 1's error is that of the squared norms, and of pairs that are
// recomputed a part of themselves. Of small integers (kind ties) the distances but the cosine are exact in every
// precision.
struct Pairs {
  const Floats& x;
  const Floats& y;
  duet_metric metric;
  bool exact_values;

  Pairs(const Case& c, const Floats& of_x, const Floats& of_y, duet_metric of_metric)
      : x(of_x), y(of_y), metric(of_metric), exact_values(c.kind == Kind::ties && of_metric != DUET_METRIC_COSINE) {}
  int64_t n() const { return x.rows(); }
  int64_t m() const { return y.rows(); }
  int64_t d() const { return x.columns(); }
  // METHOD.md 1's errors grow with the columns beyond 128.
  double error() const { return 1e-6 * std::max(1.0, static_cast<double>(d()) / 128); }

  // METHOD.md 1's error of a distance, for choices that it may decide; 0 where the values are exact.
  double tolerance(int64_t i, int64_t j) const;
  // The sizes that METHOD.md 1's relative errors speak of, n x m; of exact values too, where rounded: what a factor's
  // rounding leaves.
  Doubles error_sizes(duet_metric of_metric, bool rounded = false) const;
  Doubles distances(const Values& value) const { return distances(value, metric); }
  Doubles distances(const Values& value, duet_metric of_metric) const;
  reference::RowGradients gradients(const Values& value, Doubles g) const;
  // Whether column j of row i is chosen rightly among candidates: none is better by more than the tolerance, none of a
  // lower index has the same row.
  // better: of the two distances, the first is.
  bool well_chosen(const Doubles& distances, int64_t i, int64_t j, const std::vector<int64_t>& candidates,
                   const std::function<bool(double, double)>& better) const;
  // +-scale D, the scores of METHOD.md 4.
  Doubles scores(const Values& value, double scale) const;
};

// The size of the error of P = exp(s - lse), P between 0 and 1, whose exponent is the difference of rounded numbers and
// that underflows below float32's normal numbers; error: of the score's product.
inline double probability_error(double p, double lse, double error) {
  return p * std::min(1 + std::abs(lse) + error, 1e6) + 1.2e-38 / 1e-6;
}

// What the reference's row terms of scores s (n x m) miss: the error of P, and that a target is rounded. errors of the
// scores. A row of weight 0 takes no part.
void add_rounding(const Values& value, reference::RowTerms& terms, const Doubles& s, const Doubles& errors,
                  const Doubles& weight, int64_t n, int64_t m);

}  // namespace duet::test::backends
