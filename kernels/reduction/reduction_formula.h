// How sums and means add, divide and round, the same on both backends.
#pragma once

#include "kernels/core/check.h"

namespace duet {

// The divisor of a mean of count values: count itself where none is given.
DUET_HOST_DEVICE inline double divisor_of(Vector<const float> divisor, int64_t count) {
  return divisor ? double{divisor[0]} : static_cast<double>(count);
}

DUET_HOST_DEVICE inline float mean_of(double sum, double divisor) {
  return divisor == 0 ? 0 : static_cast<float>(sum / divisor);
}

// sum + weight value; a value whose weight is 0 is left out, NaN or not.
DUET_HOST_DEVICE inline double with_term(double sum, float weight, float value) {
  return weight != 0 ? sum + double{weight} * value : sum;
}

// The gradient of what with_term added.
DUET_HOST_DEVICE inline float with_share(float grad, double upstream, float weight) {
  return weight != 0 ? static_cast<float>(grad + upstream * double{weight}) : grad;
}

// A loss over pairs: half its mean over rows and half its mean over columns.
inline constexpr float kHalf = 0.5f;
DUET_HOST_DEVICE inline float half_of_both(float rows, float columns) {
  return static_cast<float>(with_term(with_term(0, kHalf, rows), kHalf, columns));
}

}  // namespace duet
