// METHOD.md 4, the bare formulas in double, for tests alone.
#pragma once

#include <cmath>
#include <limits>

#include "tests/reference/alignment_agreement.h"
#include "tests/reference/distance.h"

namespace duet::reference {

// s_ij = scale a_i.v_j, or -scale dist(a_i, v_j)
inline Doubles scores(const Doubles& a, const Doubles& v, int64_t n, int64_t m, int64_t d, duet_metric score, double scale) {
  Doubles s = distances(a, v, n, m, d, score);
  for (double& value : s) value *= score == DUET_INNER ? scale : -scale;
  return s;
}

inline Doubles log_sum_exp_rows(const Doubles& s, int64_t n, int64_t m) {
  Doubles out(n);
  for (int64_t i = 0; i < n; ++i) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < m; ++j) largest = std::max(largest, s[i * m + j]);
    for (int64_t j = 0; j < m; ++j) sum += std::exp(s[i * m + j] - largest);
    out[i] = largest + std::log(sum);
  }
  return out;
}

inline Doubles softmax_rows(const Doubles& s, int64_t n, int64_t m) {
  const Doubles lse = log_sum_exp_rows(s, n, m);
  Doubles p(s.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) p[i * m + j] = std::exp(s[i * m + j] - lse[i]);
  return p;
}

struct ScoreGradients {
  Doubles a, v;
  double scale = 0;
  double scale_terms = 0;  // the sum of the sizes of scale's terms, against which its rounding counts
};

// What d loss/d s (n x m) gives the rows and the scale.
inline ScoreGradients score_gradients(const Doubles& a, const Doubles& v, int64_t n, int64_t m, int64_t d, duet_metric score, double scale,
                                      const Doubles& grad_s) {
  const double sign = score == DUET_INNER ? 1 : -1;
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
