// What the tensor core's instructions, and the conversions around them, do: the model behind kernels/cuda/ptx.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/simt/simt.h"

namespace duet::simt {

void ldmatrix_x4(unsigned* r, const void* row, Place at);
void ldmatrix_x4_trans(unsigned* r, const void* row, Place at);
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Place at);
void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, Place at);

inline unsigned to_tf32(float x) {
  if (std::isnan(x)) return 0x7fffffffu;
  return (__builtin_bit_cast(unsigned, x) + 0x1000u) & ~0x1fffu;  // the carry of a mantissa moves the exponent, past the largest to infinity
}

inline unsigned to_bf16(float x) {
  if (std::isnan(x)) return 0x7fffu;
  const unsigned bits = __builtin_bit_cast(unsigned, x);
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// Rounded to nearest where the hardware is within 2 units in the last place.
inline float exp2_flushed(float x) {
  constexpr float kSmallest = 1.17549435e-38f;
  if (std::fabs(x) < kSmallest) return 1;
  const float y = static_cast<float>(std::exp2(static_cast<double>(x)));
  return y < kSmallest ? 0 : y;
}

}  // namespace duet::simt
