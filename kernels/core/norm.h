// METHOD.md 1's unit rows, for all backends: u = x / max(norm, eps).
#pragma once

#include "kernels/core/host_device.h"

namespace duet {

// A norm below this counts as this.
inline constexpr double kSmallestNorm = 1e-12;

// 1 / max(norm, eps); NaN stays.
DUET_HOST_DEVICE inline double inverse_norm(double norm) { return 1 / (norm < kSmallestNorm ? kSmallestNorm : norm); }
// |u|^2
DUET_HOST_DEVICE inline double unit_square(double norm) {
  const double length = norm / kSmallestNorm;
  return norm < kSmallestNorm ? length * length : 1;
}

}  // namespace duet
