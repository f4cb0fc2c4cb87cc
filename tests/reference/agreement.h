// METHOD.md 2, in double, for tests alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/reference/label_sets.h"

namespace duet::reference {

// Row-major n x m: the weights of positives and of negatives.
struct Weights {
  std::vector<double> positive, negative;
};

// Anchors in rows: class_a n x C, class_v m x C, trust_v m the trust of the columns' samples; annotated_a n,
// annotated_v m, not 0 where a row is annotated; empty: none is.
inline Weights agreement(const std::vector<double>& class_a, const std::vector<double>& class_v,
                         const std::vector<double>& trust_v, int64_t n, int64_t m, int64_t classes, bool paired,
                         int64_t first_row = 0, int64_t first_column = 0, const std::vector<double>& annotated_a = {},
                         const std::vector<double>& annotated_v = {}) {
  Weights out{std::vector<double>(n * m), std::vector<double>(n * m)};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      double w = 0;
      for (int64_t c = 0; c < classes; ++c) w += class_a[i * classes + c] * class_v[j * classes + c];
      if (!annotated_a.empty() && !annotated_v.empty() && annotated_a[i] != 0 && annotated_v[j] != 0 && w == w)
        w = w > 0 ? 1 : 0;
      const bool own = paired && i + first_row == j + first_column;
      out.positive[i * m + j] = own ? 1 : w * trust_v[j];
      out.negative[i * m + j] = own ? 0 : (1 - w) * trust_v[j];
    }
  return out;
}

// Hard labels; -1 takes no part.
inline Weights agreement_of_labels(const std::vector<int>& a, const std::vector<int>& v, const LabelSets& sets = {}) {
  const size_t n = a.size(), m = v.size();
  Weights out{std::vector<double>(n * m), std::vector<double>(n * m)};
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < m; ++j)
      if (a[i] >= 0 && v[j] >= 0) (sets.alike(a[i], v[j]) ? out.positive : out.negative)[i * m + j] = 1;
  return out;
}

// Groups (n and m numbers, below 0 none; empty: no groups): what is of one group is positive, whatever else it is.
// exclude_own: the own pair is neither.
inline void relate(Weights& weights, const std::vector<int>& group_a, const std::vector<int>& group_v, bool exclude_own,
                   int64_t n, int64_t m, int64_t first_row = 0, int64_t first_column = 0) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      double &positive = weights.positive[i * m + j], &negative = weights.negative[i * m + j];
      if (!group_a.empty() && !group_v.empty() && group_a[i] >= 0 && group_a[i] == group_v[j])
        positive = 1, negative = 0;
      if (exclude_own && i + first_row == j + first_column) positive = negative = 0;
    }
}

}  // namespace duet::reference
