// The Gaussian tail Phi(-t) = exp(-t^2 / 2) u P(u), u = 1 / (1 + 0.3 t): P is a minimax fit of degree 9 to erfcx on [0,
// 15], with a relative error of 3.5e-9. A float32 evaluation adds a few ulp, and the rounding of t^2 / 2, which matters
// only where the tail itself is below 1e-6.
#pragma once

#include "kernels/core/host_device.h"

namespace duet {

inline constexpr int kGeluTailDegree = 9;
inline constexpr float kGeluTailEnd = 15;  // beyond, the tail is below the least float

DUET_HOST_DEVICE constexpr float gelu_tail_coefficient(int power) {
  constexpr float kP[] = {0.11968671666547628f, 0.11957131784108518f,  0.11023934272123467f, 0.07837224810954821f,
                          0.09620483534262708f, -0.0795089799955539f,  0.19188305253383056f, -0.22828459902040374f,
                          0.1124647093493414f,  -0.020628645279941557f};
  return kP[power];
}

}  // namespace duet
