// The standardisation of a column of n values (METHOD.md 6.8) and its backward pass, in float64.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/core/host_device.h"

namespace duet {

// square: sum of the squared deviations from the mean; the variance is the biased one.
DUET_HOST_DEVICE inline double column_deviation(double square, double n, double eps) {
  return ::sqrt(square / n + eps);
}
DUET_HOST_DEVICE inline float standardised(double value, double mean, double deviation) {
  return static_cast<float>((value - mean) / deviation);
}

// The gradient by a value, from g, the gradient by its standardised value x. The means are over the column, of g and of
// g x.
DUET_HOST_DEVICE inline float through_standardisation(double g, double x, double mean, double along, double deviation) {
  return static_cast<float>((g - mean - x * along) / deviation);
}

// d (d - 1), the number of off-diagonal correlations. The loss is their mean square.
DUET_HOST_DEVICE inline double pairs_of_columns(int64_t d) {
  return static_cast<double>(d) * static_cast<double>(d - 1);
}

}  // namespace duet
