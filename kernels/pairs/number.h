// The functions of a formula's numbers (operation.h) where a number is one float: on a device, and in tests. The CPU's
// vectors have the same functions (cpu/lanes-inl.h). All of them: NaN in, NaN out.
#pragma once

#include <math.h>

#include "kernels/core/host_device.h"

namespace duet {

// a b + c, rounded once.
DUET_HOST_DEVICE inline float mul_add(float a, float b, float c) { return ::fmaf(a, b, c); }
// yes where condition > 0, else no.
DUET_HOST_DEVICE inline float select(float condition, float yes, float no) { return condition > 0 ? yes : no; }
// yes where x < 0, else no.
DUET_HOST_DEVICE inline float where_negative(float x, float yes, float no) { return x < 0 ? yes : no; }
// |x|
DUET_HOST_DEVICE inline float magnitude(float x) { return ::fabsf(x); }
// log(1 + u), u in [0, 1]
DUET_HOST_DEVICE inline float log_1_plus(float u) { return ::log1pf(u); }
// a b, and 0 where a is 0, whatever b is.
DUET_HOST_DEVICE inline float product_or_zero(float a, float b) { return a == 0 ? 0 : a * b; }
// max(x, 0)
DUET_HOST_DEVICE inline float positive_part(float x) { return x < 0 ? 0 : x; }
// e^min(x, 0): of a score that a log-sum-exp has taken in, its probability, whatever way the sum was rounded.
DUET_HOST_DEVICE inline float probability_of(float x) { return ::expf(x > 0 ? 0 : x); }
// log(1 + e^x)
DUET_HOST_DEVICE inline float softplus(float x) { return positive_part(x) + ::log1pf(::expf(-::fabsf(x))); }
// 1 / (1 + e^-x)
DUET_HOST_DEVICE inline float logistic(float x) {
  const float decay = ::expf(-::fabsf(x));
  return (x < 0 ? decay : 1) / (1 + decay);
}

}  // namespace duet
