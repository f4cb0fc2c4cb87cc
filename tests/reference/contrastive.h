// METHOD.md 5, contrastive losses: the bare formulas in double, for tests alone. Columns are rows of the transposes.
#pragma once

#include "tests/reference/distillation.h"

namespace duet::reference {

// The cross-entropy of each row's softmax of s against pos normalised (InfoNCE: pos the identity); 0 for a row without
// positives.
inline RowTerms cross_entropy_rows(const Doubles& s, const Doubles& pos, const Doubles& weight, int64_t n, int64_t m) {
  const Doubles log_p = log_softmax_rows(s, n, m), p = softmax_rows(s, n, m);
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m)};
  for (int64_t i = 0; i < n; ++i) {
    double total = 0;
    for (int64_t j = 0; j < m; ++j) total += pos[i * m + j];
    if (total == 0) continue;
    Doubles target(m);
    for (int64_t j = 0; j < m; ++j) target[j] = pos[i * m + j] / total;
    for (int64_t j = 0; j < m; ++j) {
      if (target[j] > 0) out.loss[i] -= target[j] * log_p[i * m + j];
      const Difference from_target = difference(p.data() + i * m, target.data(), m, j);
      out.grad_s[i * m + j] = weight[i] * from_target.value;
      out.parts[i * m + j] = std::abs(weight[i]) * from_target.parts;
    }
  }
  return out;
}

inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// sum_j [W softplus(-x) + (1 - W) softplus(x)], x (n x m); grad_s is the gradient by x.
inline RowTerms sigmoid_rows(const Doubles& x, const Doubles& w, const Doubles& weight, int64_t n, int64_t m) {
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m)};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      const double up = (1 - w[k]) / (1 + std::exp(-x[k])), down = w[k] / (1 + std::exp(x[k]));
      out.loss[i] += w[k] * softplus(-x[k]) + (1 - w[k]) * softplus(x[k]);
      out.grad_s[k] = weight[i] * (up - down);
      out.parts[k] = std::abs(weight[i]) * std::max(up, down);
    }
  return out;
}

}  // namespace duet::reference
