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

// sum_j [W softplus(-x) + (1 - W) softplus(x)], x (n x m); grad_s is the gradient by x. Only pairs with take_j = 1 take
// part; take empty: all.
inline RowTerms sigmoid_rows(const Doubles& x, const Doubles& w, const Doubles& weight, int64_t n, int64_t m,
                             const Doubles& take = {}) {
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m)};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      if (!take.empty() && take[k] == 0) continue;
      const double up = (1 - w[k]) / (1 + std::exp(-x[k])), down = w[k] / (1 + std::exp(x[k]));
      out.loss[i] += w[k] * softplus(-x[k]) + (1 - w[k]) * softplus(x[k]);
      out.grad_s[k] = weight[i] * (up - down);
      out.parts[k] = std::abs(weight[i]) * std::max(up, down);
    }
  return out;
}

// Which pairs are positive and which are negative (METHOD.md 5.6), n x m of 1 and 0. Labels and groups: of both sides,
// or empty; below 0: none.
struct Relation {
  Doubles positive, negative;
};
inline Relation relation_of_pairs(const Doubles& labels_a, const Doubles& labels_v, const Doubles& group_a,
                                  const Doubles& group_v, bool exclude_own, int64_t n, int64_t m, int64_t first_row = 0,
                                  int64_t first_column = 0, const LabelSets& sets = {}) {
  Relation out{Doubles(n * m), Doubles(n * m)};
  const bool labels = !labels_a.empty() && !labels_v.empty(), groups = !group_a.empty() && !group_v.empty();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const bool own = i + first_row == j + first_column;
      if (own && exclude_own) continue;
      const bool labelled = labels && labels_a[i] >= 0 && labels_v[j] >= 0;
      const bool positive =
          own || (labelled && sets.alike(static_cast<int32_t>(labels_a[i]), static_cast<int32_t>(labels_v[j]))) ||
          (groups && group_a[i] >= 0 && group_a[i] == group_v[j]);
      out.positive[i * m + j] = positive;
      out.negative[i * m + j] = !positive && (!labels || labelled);
    }
  return out;
}

// METHOD.md 5.3 of a relation: the cross-entropy of each row's softmax over its positives and negatives against equal
// shares of its positives.
inline RowTerms infonce_rows(const Doubles& s, const Relation& pairs, const Doubles& weight, int64_t n, int64_t m) {
  Doubles taken(s.size());
  for (size_t k = 0; k < s.size(); ++k)
    taken[k] = pairs.positive[k] + pairs.negative[k] > 0 ? s[k] : -std::numeric_limits<double>::infinity();
  return cross_entropy_rows(taken, pairs.positive, weight, n, m);
}

// log sum_j take_j e^{x_j} of each row; -inf where nothing is taken.
inline Doubles log_sums_of(const Doubles& x, const Doubles& take, int64_t n, int64_t m) {
  Doubles taken(x.size());
  for (size_t k = 0; k < x.size(); ++k) taken[k] = take[k] > 0 ? x[k] : -std::numeric_limits<double>::infinity();
  Doubles out(n, -std::numeric_limits<double>::infinity());
  const Doubles sums = log_sum_exp_rows(taken, n, m);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j)
      if (take[i * m + j] > 0) out[i] = sums[i];
  return out;
}

inline double count_of(const Doubles& take, int64_t i, int64_t m) {
  double count = 0;
  for (int64_t j = 0; j < m; ++j) count += take[i * m + j];
  return count;
}

// METHOD.md 5.6: log sum_n e^{s_in} - mean_p s_ip.
inline RowTerms decoupled_rows(const Doubles& s, const Relation& pairs, const Doubles& weight, int64_t n, int64_t m) {
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m)};
  const Doubles of_negatives = log_sums_of(s, pairs.negative, n, m);
  for (int64_t i = 0; i < n; ++i) {
    const double positives = count_of(pairs.positive, i, m);
    if (positives == 0 || count_of(pairs.negative, i, m) == 0) continue;
    out.loss[i] = of_negatives[i];
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      double slope = 0;
      if (pairs.positive[k] > 0) out.loss[i] -= s[k] / positives, slope = -1 / positives;
      if (pairs.negative[k] > 0) slope = std::exp(s[k] - of_negatives[i]);
      out.grad_s[k] = weight[i] * slope;
      out.parts[k] = std::abs(out.grad_s[k]);
    }
  }
  return out;
}

// METHOD.md 5.8: sum_p log(1 + sum_n e^{s_in} / e^{s_ip}).
inline RowTerms ntxent_rows(const Doubles& s, const Relation& pairs, const Doubles& weight, int64_t n, int64_t m) {
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m)};
  const Doubles of_negatives = log_sums_of(s, pairs.negative, n, m);
  for (int64_t i = 0; i < n; ++i) {
    if (count_of(pairs.negative, i, m) == 0) continue;
    double pushed = 0;  // sum_p N / (N + e^{s_ip})
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      if (!(pairs.positive[k] > 0)) continue;
      const double against = 1 / (1 + std::exp(s[k] - of_negatives[i]));
      out.loss[i] += softplus(of_negatives[i] - s[k]);
      out.grad_s[k] = -weight[i] * against;
      pushed += against;
    }
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      if (pairs.negative[k] > 0) out.grad_s[k] = weight[i] * pushed * std::exp(s[k] - of_negatives[i]);
    }
    for (int64_t j = 0; j < m; ++j) out.parts[i * m + j] = std::abs(out.grad_s[i * m + j]);
  }
  return out;
}

// METHOD.md 5.7 of dots and a scale; grad_s is the gradient by scale times dot. factor_dots: what the factors that the
// gradient does not see are formed of, which are the dots themselves but where differences of the loss are taken.
inline RowTerms circle_rows(const Doubles& dots, const Doubles& factor_dots, double scale, double margin,
                            const Relation& pairs, const Doubles& weight, int64_t n, int64_t m) {
  RowTerms out{Doubles(n), Doubles(n * m), Doubles(n * m), Doubles(n * m)};
  Doubles x(dots.size()), by_dot(dots.size());
  for (size_t k = 0; k < dots.size(); ++k) {
    const double grow = std::max(0.0, factor_dots[k] + margin), shrink = std::max(0.0, 1 + margin - factor_dots[k]);
    x[k] = pairs.positive[k] > 0 ? -scale * shrink * (dots[k] - (1 - margin)) : scale * grow * (dots[k] - margin);
    by_dot[k] = pairs.positive[k] > 0 ? -scale * shrink : scale * grow;
  }
  const Doubles negatives = log_sums_of(x, pairs.negative, n, m), positives = log_sums_of(x, pairs.positive, n, m);
  for (int64_t i = 0; i < n; ++i) {
    if (count_of(pairs.positive, i, m) == 0 || count_of(pairs.negative, i, m) == 0) continue;
    const double both = negatives[i] + positives[i], active = 1 / (1 + std::exp(-both));
    out.loss[i] = softplus(both);
    for (int64_t j = 0; j < m; ++j) {
      const int64_t k = i * m + j;
      const bool positive = pairs.positive[k] > 0;
      if (!positive && !(pairs.negative[k] > 0)) continue;
      const double by_x = weight[i] * active * std::exp(x[k] - (positive ? positives[i] : negatives[i]));
      out.grad_s[k] = by_x * by_dot[k] / scale;
      out.parts[k] = std::abs(out.grad_s[k]);
      out.by_scale[k] = by_x * x[k] / scale;
    }
  }
  return out;
}

}  // namespace duet::reference
