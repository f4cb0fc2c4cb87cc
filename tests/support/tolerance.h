// The tolerances METHOD.md states, in one place.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/core/context.h"

namespace duet::test {

// Error of an inner product of rows of norm 1: half of what section 1 allows a squared distance.
inline double inner_product_error(int64_t d, duet_precision precision = DUET_PRECISION_TF32X3) {
  if (precision == DUET_PRECISION_TF32) return 1e-3;
  if (precision == DUET_PRECISION_BF16) return 8e-3;
  return 1e-6 * std::max(1.0, static_cast<double>(d) / 128);
}

// Sections 4 and 5, for log-sum-exp, KL and cross-entropy, and for gradients relative to their largest entry. norms: of
// the rows, multiplied.
inline double softmax_tolerance(int64_t d, double scale, double norms = 1,
                                duet_precision precision = DUET_PRECISION_TF32X3) {
  return 2 * inner_product_error(d, precision) * std::abs(scale) * norms + 2e-6;
}

}  // namespace duet::test
