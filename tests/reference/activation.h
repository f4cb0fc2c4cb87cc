// Activations and dropout as their header states them, in double, for tests alone. The words of dropout come from
// kernels/core/philox.h, which the golden cases check.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/core/philox.h"

namespace duet::reference {

using Doubles = std::vector<double>;

inline double activation(duet_activation_kind kind, double x) {
  if (std::isnan(x)) return x;
  if (kind == DUET_ACTIVATION_KIND_RELU) return x > 0 ? x : 0;
  if (kind == DUET_ACTIVATION_KIND_TANH) return std::tanh(x);
  return x == -INFINITY ? 0 : x * std::erfc(-x / std::numbers::sqrt2) / 2;
}

inline double activation_slope(duet_activation_kind kind, double x) {
  if (std::isnan(x)) return x;
  if (kind == DUET_ACTIVATION_KIND_RELU) return x > 0 ? 1 : 0;
  if (kind == DUET_ACTIVATION_KIND_TANH) return 1 / (std::cosh(x) * std::cosh(x));
  if (std::isinf(x)) return x > 0 ? 1 : 0;
  return std::erfc(-x / std::numbers::sqrt2) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
}

// 1 / (1 - p) where the element is kept, 0 where it is dropped.
inline Doubles dropout_factors(float drop_probability, uint64_t seed, uint32_t layer, uint32_t step, int64_t first_row,
                               int64_t rows, int64_t columns) {
  Doubles factors;
  for (int64_t e = first_row * columns; e < (first_row + rows) * columns; ++e) {
    const uint32_t word = random_word(seed, 5 + 256 * layer, step, static_cast<uint64_t>(e));
    factors.push_back(
        word < std::floor(double{drop_probability} * 4294967296.0 + 0.5) ? 0 : 1 / (1 - double{drop_probability}));
  }
  return factors;
}

}  // namespace duet::reference
