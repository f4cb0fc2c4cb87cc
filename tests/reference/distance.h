// METHOD.md 1, the bare formulas in double, for tests alone. Matrices are row-major; x n x d, y m x d.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/distance/distance.h"

namespace duet::reference {

using Doubles = std::vector<double>;

inline double norm(const double* x, int64_t d) {
  double sum = 0;
  for (int64_t k = 0; k < d; ++k) sum += x[k] * x[k];
  return std::sqrt(sum);
}

inline Doubles unit_rows(const Doubles& x, int64_t n, int64_t d) {
  Doubles u = x;
  for (int64_t i = 0; i < n; ++i) {
    const double length = norm(x.data() + i * d, d);
    for (int64_t k = 0; k < d; ++k) u[i * d + k] /= length < 1e-12 ? 1e-12 : length;
  }
  return u;
}

inline Doubles distances(const Doubles& x, const Doubles& y, int64_t n, int64_t m, int64_t d, duet_metric metric) {
  const bool cosine = metric == DUET_METRIC_COSINE;
  const Doubles u = cosine ? unit_rows(x, n, d) : x, w = cosine ? unit_rows(y, m, d) : y;
  Doubles out(n * m);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      double inner = 0, square = 0;
      for (int64_t k = 0; k < d; ++k) {
        inner += u[i * d + k] * w[j * d + k];
        square += (u[i * d + k] - w[j * d + k]) * (u[i * d + k] - w[j * d + k]);
      }
      out[i * m + j] = metric == DUET_METRIC_INNER       ? inner
                       : cosine                          ? 1 - inner
                       : metric == DUET_METRIC_EUCLIDEAN ? std::sqrt(square)
                                                         : square;
    }
  return out;
}

struct RowGradients {
  Doubles x, y;
};

// What G = dL/dD gives the rows.
inline RowGradients distance_gradients(const Doubles& x, const Doubles& y, int64_t n, int64_t m, int64_t d,
                                       duet_metric metric, const Doubles& g) {
  RowGradients out{Doubles(n * d), Doubles(m * d)};
  if (metric == DUET_METRIC_COSINE) {
    const Doubles u = unit_rows(x, n, d), w = unit_rows(y, m, d);
    Doubles gu(n * d), gw(m * d);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < m; ++j)
        for (int64_t k = 0; k < d; ++k) {
          gu[i * d + k] += g[i * m + j] * w[j * d + k];
          gw[j * d + k] += g[i * m + j] * u[i * d + k];
        }
    const auto project = [d](const Doubles& rows, const Doubles& unit, const Doubles& gradient, int64_t count,
                             Doubles& to) {
      for (int64_t i = 0; i < count; ++i) {
        const double length = norm(rows.data() + i * d, d);
        if (length < 1e-12) continue;
        double along = 0;
        for (int64_t k = 0; k < d; ++k) along += gradient[i * d + k] * unit[i * d + k];
        for (int64_t k = 0; k < d; ++k) to[i * d + k] = -(gradient[i * d + k] - along * unit[i * d + k]) / length;
      }
    };
    project(x, u, gu, n, out.x);
    project(y, w, gw, m, out.y);
    return out;
  }
  const Doubles values = metric == DUET_METRIC_EUCLIDEAN ? distances(x, y, n, m, d, metric) : Doubles();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      const double gij = g[i * m + j];
      const double h = metric == DUET_METRIC_SQEUCLIDEAN ? 2 * gij
                       : metric == DUET_METRIC_EUCLIDEAN ? (values[i * m + j] == 0 ? 0 : gij / values[i * m + j])
                                                         : gij;
      for (int64_t k = 0; k < d; ++k) {
        const double xk = x[i * d + k], yk = y[j * d + k];
        out.x[i * d + k] += metric == DUET_METRIC_INNER ? h * yk : h * (xk - yk);
        out.y[j * d + k] += metric == DUET_METRIC_INNER ? h * xk : h * (yk - xk);
      }
    }
  return out;
}

}  // namespace duet::reference
