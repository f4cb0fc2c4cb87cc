// METHOD.md 4, the bare formulas in double, for tests alone.
#pragma once

#include <cmath>
#include <limits>

#include "tests/reference/distance.h"

namespace duet::reference {

inline Doubles transposed(const Doubles& x, int64_t rows, int64_t columns) {
  Doubles out(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[j * rows + i] = x[i * columns + j];
  return out;
}

// s_ij = scale a_i.v_j, or -scale dist(a_i, v_j)
inline Doubles scores(const Doubles& a, const Doubles& v, int64_t n, int64_t m, int64_t d, duet_metric score,
                      double scale) {
  Doubles s = distances(a, v, n, m, d, score);
  for (double& value : s) value *= score == DUET_METRIC_INNER ? scale : -scale;
  return s;
}

inline Doubles log_sum_exp_rows(const Doubles& s, int64_t n, int64_t m) {
  Doubles out(n);
  for (int64_t i = 0; i < n; ++i) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < m; ++j) largest = std::max(largest, s[i * m + j]);
    for (int64_t j = 0; j < m; ++j)
      if (s[i * m + j] != -std::numeric_limits<double>::infinity()) sum += std::exp(s[i * m + j] - largest);
    out[i] = sum == 0 ? -std::numeric_limits<double>::infinity() : largest + std::log(sum);
  }
  return out;
}

// s - lse of every row; the largest score's comes from the sum over the others, as 1 + little has no digits for it.
inline Doubles log_softmax_rows(const Doubles& s, int64_t n, int64_t m) {
  Doubles out(s.size());
  for (int64_t i = 0; i < n; ++i) {
    const double* row = s.data() + i * m;
    int64_t at = 0;
    for (int64_t j = 0; j < m; ++j)
      if (row[j] > row[at]) at = j;
    double others = row[at] - row[at];  // NaN where there is no softmax
    for (int64_t j = 0; j < m; ++j)
      if (j != at) others += std::exp(row[j] - row[at]);
    for (int64_t j = 0; j < m; ++j) out[i * m + j] = (row[j] - row[at]) - std::log1p(others);
  }
  return out;
}

inline Doubles softmax_rows(const Doubles& s, int64_t n, int64_t m) {
  Doubles p = log_softmax_rows(s, n, m);
  for (double& value : p) value = std::exp(value);
  return p;
}

// A number that is formed of parts, and the sum of their sizes, against which its rounding counts.
struct Difference {
  double value, parts;
};

// p_j - t_j of two distributions over m; of a confident p from what both leave to the others.
inline Difference difference(const double* p, const double* t, int64_t m, int64_t j) {
  if (!(p[j] > 0.5)) return {p[j] - t[j], std::abs(p[j]) + std::abs(t[j])};
  double rest_p = 0, rest_t = 0;
  for (int64_t k = 0; k < m; ++k)
    if (k != j) rest_p += p[k], rest_t += t[k];
  return {rest_t - rest_p, rest_t + rest_p};
}

struct ScoreGradients {
  Doubles a, v;
  double scale = 0;
  double scale_terms = 0;  // the sum of the sizes of scale's terms, against which its rounding counts
};

// What d loss/d s (n x m) gives the rows and the scale.
inline ScoreGradients score_gradients(const Doubles& a, const Doubles& v, int64_t n, int64_t m, int64_t d,
                                      duet_metric score, double scale, const Doubles& grad_s) {
  const double sign = score == DUET_METRIC_INNER ? 1 : -1;
  const Doubles dots = distances(a, v, n, m, d, score);
  ScoreGradients out;
  Doubles g(grad_s.size());
  for (size_t k = 0; k < g.size(); ++k) {
    g[k] = sign * scale * grad_s[k];
    out.scale += sign * grad_s[k] * dots[k];
    out.scale_terms += std::abs(grad_s[k] * dots[k]);
  }
  const RowGradients rows = distance_gradients(a, v, n, m, d, score, g);
  out.a = rows.x;
  out.v = rows.y;
  return out;
}

}  // namespace duet::reference
