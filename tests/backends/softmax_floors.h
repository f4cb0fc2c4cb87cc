// What a softmax and its gradients may be off by because float32 holds the scores and their log-sum-exps: in the
// exponent s - lse of a probability METHOD.md 5's r, which no small move of the inputs shows where scores are large.
// Added to the bounds of single elements (Expected::floors).
#pragma once

#include "tests/backends/distances.h"

namespace duet::test::backends {

// METHOD.md 4: past it nothing is said of a row.
inline constexpr double kLargestScore = 2e36;

// Own pairs, row i and column i + offset: paired: they stand apart; excluded: they take no part, their score is -inf.
struct OwnPairs {
  bool paired;
  int64_t offset;
  bool excluded = false;

  bool excludes(int64_t i, int64_t j) const { return excluded && j == i + offset; }
  // The row whose only one of so many columns takes no part; no index where there is none.
  int64_t empty_row(int64_t columns) const { return excluded && columns == 1 ? -offset : -1; }
  OwnPairs turned() const { return {paired, -offset, excluded}; }
};
// x (n x m) with this value at the excluded pairs.
inline Doubles with_excluded(Doubles x, OwnPairs own, int64_t n, int64_t m, double value) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j)
      if (own.excludes(i, j)) x[static_cast<size_t>(i * m + j)] = value;
  return x;
}

// The sizes of a row's parts, P and its target, or 1 - P and 1 - T of an own pair; 0 of an excluded one.
Doubles parts_of(const reference::RowTerms& terms, const Doubles& weight, const Doubles& s, OwnPairs own, int64_t n,
                 int64_t m);

// s_ii minus the log-sum-exp of the others.
Doubles log_odds(const Doubles& s, OwnPairs own, int64_t n, int64_t m);

// Of rows of scores s (n x m) whose products have errors of these sizes, in units of the relative error.
struct RowFloors {
  // Of terms made of P = e^{s - lse} (n x m), whose parts have these sizes: parts (e^r - 1); where r >= 1 P is anything
  // from 0 to min(1, e^{s - lse + r}). Rows of weight 0 take no part.
  Doubles terms;
  Doubles sums;  // of a log-sum-exp and all that comes of it: nothing, infinite past kLargestScore
  Doubles odds;  // of log_odds
};
RowFloors row_floors(const Doubles& parts, const Doubles& weight, const Doubles& s, const Doubles& sizes, double error,
                     OwnPairs own, int64_t n, int64_t m);

// Of what d loss/d s that is off by this (n x m) gives the rows and the scale: the sum over the terms of |factor| times
// it.
struct GradientFloors {
  Doubles a, v, scale;
};
GradientFloors gradient_floors(const Pairs& pairs, double scale, const Doubles& off);

}  // namespace duet::test::backends
