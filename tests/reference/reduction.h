// Weighted mean and sum as their header states them, in double, for tests alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace duet::reference {

using Doubles = std::vector<double>;

// weights may be empty: 1.
inline double weighted_mean(const Doubles& values, const Doubles& weights, double divisor) {
  if (divisor == 0) return 0;
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double weight = weights.empty() ? 1 : weights[i];
    if (weight != 0) sum += weight * values[i];
  }
  return sum / divisor;
}

inline Doubles weighted_mean_backward(const Doubles& weights, std::size_t size, double divisor, double grad_loss) {
  Doubles grad(size);
  for (std::size_t i = 0; i < size && divisor != 0; ++i) {
    const double weight = weights.empty() ? 1 : weights[i];
    if (weight != 0) grad[i] = grad_loss * weight / divisor;
  }
  return grad;
}

}  // namespace duet::reference
