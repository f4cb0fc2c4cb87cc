// Row normalizations as their header states them: bare loops in double, for tests alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace duet::reference {

using Doubles = std::vector<double>;

inline Doubles unit_rows(const Doubles& x, int64_t d, double eps) {
  Doubles y = x;
  for (std::size_t row = 0; row < x.size(); row += static_cast<std::size_t>(d)) {
    double square = 0;
    for (std::size_t k = row; k < row + static_cast<std::size_t>(d); ++k) square += x[k] * x[k];
    const double norm = std::sqrt(square);
    for (std::size_t k = row; k < row + static_cast<std::size_t>(d); ++k) y[k] = x[k] / (norm < eps ? eps : norm);
  }
  return y;
}

inline Doubles unit_rows_backward(const Doubles& x, int64_t d, double eps, const Doubles& g) {
  Doubles grad = g;
  const Doubles y = unit_rows(x, d, eps);
  for (std::size_t row = 0; row < x.size(); row += static_cast<std::size_t>(d)) {
    double square = 0, along = 0;
    for (std::size_t k = row; k < row + static_cast<std::size_t>(d); ++k) square += x[k] * x[k], along += g[k] * y[k];
    const double norm = std::sqrt(square);
    for (std::size_t k = row; k < row + static_cast<std::size_t>(d); ++k)
      grad[k] = norm < eps ? g[k] / eps : (g[k] - along * y[k]) / norm;
  }
  return grad;
}

struct LayerNorm {
  int64_t d;
  Doubles gain, offset;  // each may be empty
  double eps;

  double gain_at(std::size_t k) const { return gain.empty() ? 1 : gain[k]; }

  // (x - mean) / sqrt(variance + eps), and the second factor of it for each row.
  Doubles standardise(const Doubles& x, Doubles* scales = nullptr) const {
    const std::size_t size = static_cast<std::size_t>(d);
    Doubles y = x;
    for (std::size_t row = 0; row < x.size(); row += size) {
      double mean = 0, variance = 0;
      for (std::size_t k = 0; k < size; ++k) mean += x[row + k] / static_cast<double>(d);
      for (std::size_t k = 0; k < size; ++k)
        variance += (x[row + k] - mean) * (x[row + k] - mean) / static_cast<double>(d);
      const double scale = 1 / std::sqrt(variance + eps);
      for (std::size_t k = 0; k < size; ++k) y[row + k] = (x[row + k] - mean) * scale;
      if (scales) scales->push_back(scale);
    }
    return y;
  }

  Doubles forward(const Doubles& x) const {
    Doubles y = standardise(x);
    for (std::size_t e = 0; e < y.size(); ++e)
      y[e] = y[e] * gain_at(e % static_cast<std::size_t>(d)) +
             (offset.empty() ? 0 : offset[e % static_cast<std::size_t>(d)]);
    return y;
  }

  struct Gradients {
    Doubles x, gain, offset;
  };
  Gradients backward(const Doubles& x, const Doubles& g) const {
    const std::size_t size = static_cast<std::size_t>(d);
    Doubles scales;
    const Doubles standard = standardise(x, &scales);
    Gradients grad{Doubles(x.size()), Doubles(size), Doubles(size)};
    for (std::size_t row = 0; row < x.size(); row += size) {
      double mean = 0, mean_x = 0;
      for (std::size_t k = 0; k < size; ++k) {
        grad.gain[k] += g[row + k] * standard[row + k];
        grad.offset[k] += g[row + k];
        mean += g[row + k] * gain_at(k) / static_cast<double>(d);
        mean_x += g[row + k] * gain_at(k) * standard[row + k] / static_cast<double>(d);
      }
      for (std::size_t k = 0; k < size; ++k)
        grad.x[row + k] = scales[row / size] * (g[row + k] * gain_at(k) - mean - mean_x * standard[row + k]);
    }
    return grad;
  }
};

}  // namespace duet::reference
