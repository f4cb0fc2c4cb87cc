// METHOD.md 6.8, written out column pair by column pair. In double, for tests alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace duet::reference {

struct Standardised {
  std::vector<double> rows, deviation;
};

inline Standardised standardise(const std::vector<double>& x, int64_t n, int64_t d, double eps) {
  Standardised out{x, std::vector<double>(d)};
  for (int64_t k = 0; k < d; ++k) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; ++i) mean += x[i * d + k] / n;
    for (int64_t i = 0; i < n; ++i) variance += (x[i * d + k] - mean) * (x[i * d + k] - mean) / n;
    out.deviation[k] = std::sqrt(variance + eps);
    for (int64_t i = 0; i < n; ++i) out.rows[i * d + k] = (x[i * d + k] - mean) / out.deviation[k];
  }
  return out;
}

// R without its diagonal.
inline std::vector<double> cross_correlation(const Standardised& a, const Standardised& v, int64_t n, int64_t d) {
  std::vector<double> r(d * d);
  for (int64_t k = 0; k < d; ++k)
    for (int64_t l = 0; l < d; ++l)
      for (int64_t i = 0; i < n && k != l; ++i) r[k * d + l] += a.rows[i * d + k] * v.rows[i * d + l] / n;
  return r;
}

inline double decorrelation(const std::vector<double>& a, const std::vector<double>& v, int64_t n, int64_t d,
                            double eps = 1e-5) {
  if (d <= 1 || n == 0) return 0;
  double sum = 0;
  for (const double r : cross_correlation(standardise(a, n, d, eps), standardise(v, n, d, eps), n, d)) sum += r * r;
  return sum / (static_cast<double>(d) * static_cast<double>(d - 1));
}

// dL/da; dL/dv is the same with the sides exchanged.
inline std::vector<double> decorrelation_gradient(const std::vector<double>& a, const std::vector<double>& v, int64_t n,
                                                  int64_t d, double eps = 1e-5) {
  std::vector<double> grad(a.size());
  if (d <= 1 || n == 0) return grad;
  const Standardised x = standardise(a, n, d, eps), y = standardise(v, n, d, eps);
  const auto r = cross_correlation(x, y, n, d);
  for (int64_t k = 0; k < d; ++k) {
    std::vector<double> g(n);
    double mean = 0, along = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t l = 0; l < d; ++l)
        g[i] += 2 * r[k * d + l] * y.rows[i * d + l] / (static_cast<double>(d) * static_cast<double>(d - 1)) / n;
      mean += g[i] / n;
      along += g[i] * x.rows[i * d + k] / n;
    }
    for (int64_t i = 0; i < n; ++i) grad[i * d + k] = (g[i] - mean - x.rows[i * d + k] * along) / x.deviation[k];
  }
  return grad;
}

}  // namespace duet::reference
