// Sides of float16 or bfloat16 (core/view.h): what they are as float32, and who converts them.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/host_device.h"

namespace duet {

// The float32 of the same value, by its bits: exact for every one, subnormal numbers too. An infinity stays one; NaN
// keeps its sign and its digits. half: of the low 16 bits.
DUET_HOST_DEVICE inline float widened_f16(uint32_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, size = half & 0x7FFFu;
  // The exponent's bias is 15 here and 127 there; that of infinities and NaN has all its bits set in both.
  const uint32_t normal = (size << 13) + (size < 0x7C00u ? 112u << 23 : 224u << 23);
  // Numbers below the normal ones are 2^-24 apart, as float32's from 0.5 to 1 are. No step of this is subnormal in
  // float32, so that nothing depends on whether the processor flushes those to 0.
  const uint32_t above_half = 0x3F000000u | size;
  float small;
  memcpy(&small, &above_half, sizeof small);
  small -= 0.5f;
  uint32_t small_bits;
  memcpy(&small_bits, &small, sizeof small_bits);
  // Both are formed, and one is taken without a branch, so that a loop of this becomes vector instructions.
  const uint32_t is_small = size < 0x0400u ? ~0u : 0u, bits = (small_bits & is_small) | (normal & ~is_small) | sign;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
// bfloat16 is the upper half of a float32.
DUET_HOST_DEVICE inline float widened_bf16(uint32_t half) {
  const uint32_t bits = half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// A side that a call converts before it computes: as it is given, and where it goes. An Arguments holds some that are
// not set, and a call without halves takes no time to set them.
struct Half {
  const uint16_t* from;
  float* to;  // a multiple of 64 bytes; its rows follow each other without a gap
  int64_t rows, columns;
  int64_t stride;    // of from, in elements
  duet_dtype dtype;  // f16 or bf16
};
inline constexpr int kMostHalves = 4;  // of a call: student and teacher of two modalities

// Whether a side is float16 or bfloat16; throws, naming it, where it is not float32 either.
bool is_half(const duet_const_matrix& view, const char* name);

// No side is empty.
DUET_BACKEND_FUNCTION(void, widen, const duet_context& context, std::span<const Half> halves)

}  // namespace duet
