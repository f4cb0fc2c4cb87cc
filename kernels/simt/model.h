// What the tensor core's instructions, and the conversions around them, compute: plain functions of numbers and of a
// warp's registers. The emulator runs on them, and tests/simt/conformance.cu holds real hardware against them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace duet::simt::model {

inline unsigned bits_of(float x) { return std::bit_cast<unsigned>(x); }
inline float float_of(unsigned bits) { return std::bit_cast<float>(bits); }

// cvt.rna.tf32: the carry of a mantissa moves the exponent, past the largest number to infinity.
inline unsigned to_tf32(float x) { return std::isnan(x) ? 0x7fffffffu : (bits_of(x) + 0x1000u) & ~0x1fffu; }
// cvt.rn.bf16
inline unsigned to_bf16(float x) {
  const unsigned bits = bits_of(x);
  return std::isnan(x) ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
// mma drops the low bits of a tf32 operand.
inline float tf32_value(unsigned bits) { return float_of(bits & 0xffffe000u); }
inline float bf16_value(unsigned pair, int half) { return float_of(half ? pair & 0xffff0000u : pair << 16); }

// ex2, sqrt and rcp.approx.ftz, rounded to nearest where the hardware is within 2 units in the last place.
inline float flushed(float x) { return std::fabs(x) < 1.17549435e-38f ? std::copysign(0.0f, x) : x; }
inline float exp2_flushed(float x) { return flushed(static_cast<float>(std::exp2(static_cast<double>(flushed(x))))); }
inline float sqrt_flushed(float x) { return std::sqrt(flushed(x)); }
inline float reciprocal_flushed(float x) { return flushed(1 / flushed(x)); }

struct LoadMatrix {
  unsigned* r;
  const uint16_t* row;
};
inline void load_matrices(const LoadMatrix* const* lanes) {
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int lane = 0; lane < 32; ++lane)
      std::memcpy(&lanes[lane]->r[matrix], lanes[matrix * 8 + lane / 4]->row + 2 * (lane % 4), sizeof(unsigned));
}

struct Multiply {
  float* d;
  const unsigned *a, *b;
  const float* c;
};
// Four columns of a row, as a vector of any processor.
using Columns = float __attribute__((vector_size(16)));
template <int kDepth>
struct Operands {
  float a[16][kDepth];
  Columns b[kDepth][2];
};
inline void gather(Operands<16>& to, const Multiply& from, int group, int quad) {
  for (int i = 0; i < 4; ++i)
    for (int half = 0; half < 2; ++half)
      to.a[group + 8 * (i & 1)][2 * quad + 8 * (i >> 1) + half] = bf16_value(from.a[i], half);
  for (int i = 0; i < 2; ++i)
    for (int half = 0; half < 2; ++half)
      to.b[2 * quad + 8 * i + half][group / 4][group % 4] = bf16_value(from.b[i], half);
}
inline void gather(Operands<8>& to, const Multiply& from, int group, int quad) {
  for (int i = 0; i < 4; ++i) to.a[group + 8 * (i & 1)][quad + 4 * (i >> 1)] = tf32_value(from.a[i]);
  for (int i = 0; i < 2; ++i) to.b[quad + 4 * i][group / 4][group % 4] = tf32_value(from.b[i]);
}
// mma does not round its sum: what float32 does not hold is cut off.
inline float sum_cut(float c, float products) {
  const double sum = static_cast<double>(c) + products;
  const float rounded = static_cast<float>(sum);
  const bool is_larger = std::fabs(static_cast<double>(rounded)) > std::fabs(sum);
  return is_larger && std::isfinite(rounded) ? float_of(bits_of(rounded) - 1) : rounded;
}

// Exact products, summed in float32 in the order of k, then c added and the sum cut. kDepth 16: bf16, 8: tf32.
template <int kDepth>
void multiply(const Multiply* const* lanes) {
  Operands<kDepth> operands;
  for (int lane = 0; lane < 32; ++lane) gather(operands, *lanes[lane], lane / 4, lane % 4);
  float d[16][8];
  for (int row = 0; row < 16; ++row) {
    Columns left{}, right{};
    for (int k = 0; k < kDepth; ++k) {
      const float a = operands.a[row][k];
      left += Columns{a, a, a, a} * operands.b[k][0];
      right += Columns{a, a, a, a} * operands.b[k][1];
    }
    std::memcpy(d[row], &left, sizeof left);
    std::memcpy(d[row] + 4, &right, sizeof right);
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      lanes[lane]->d[i] = sum_cut(lanes[lane]->c[i], d[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)]);
}

}  // namespace duet::simt::model
