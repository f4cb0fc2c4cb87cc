// Operands as float16 and bfloat16.
#include <bit>
#include <cmath>

#include "tests/backends/case.h"

namespace duet::test::backends {
namespace {

// Towards zero, so that nothing finite becomes infinite.
uint16_t f16_of(float x) {
  constexpr int kDigits = 10, kBias = 15;
  const auto sign = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0);
  if (std::isnan(x)) return 0x7E00;
  if (std::isinf(x)) return sign | 0x7C00;
  const int exponent = x == 0 ? 1 - kBias : std::max(std::ilogb(x), 1 - kBias);
  if (exponent > kBias) return sign | 0x7BFF;
  const auto steps = static_cast<int>(std::ldexp(std::abs(x), kDigits - exponent));  // 1024 is the lowest normal number
  return static_cast<uint16_t>(sign | (((exponent + kBias - 1) << kDigits) + steps));
}
float value_of_f16(uint16_t half) {
  const int exponent = half >> 10 & 31, steps = half & 1023;
  const float size = exponent == 31  ? (steps ? NAN : INFINITY)
                     : exponent == 0 ? std::ldexp(static_cast<float>(steps), -24)
                                     : std::ldexp(static_cast<float>(1024 + steps), exponent - 25);
  return half & 0x8000 ? -size : size;
}
uint16_t bf16_of(float x) { return std::isnan(x) ? 0x7FC0 : static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }
float value_of_bf16(uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); }

}  // namespace

void Case::Halved::write() {
  for (int64_t i = 0; i < values->rows(); ++i)
    for (int64_t j = 0; j < values->columns(); ++j) {
      const float value = values->at(i, j);
      halves[static_cast<size_t>(i * stride + j)] = dtype == DUET_DTYPE_F16 ? f16_of(value) : bf16_of(value);
    }
}

duet_const_matrix Case::features(Floats& x) {
  if (draw_of_features_.integer(0, 3) > 0) return x.matrix();
  const bool far = kind == Kind::huge || kind == Kind::tiny, f16 = !far && draw_of_features_.integer(0, 1) == 0;
  const int64_t stride = x.columns() + draw_of_features_.integer(0, 2);
  Halved& made = halved_.emplace_back();
  made.values = &x, made.stride = stride, made.dtype = f16 ? DUET_DTYPE_F16 : DUET_DTYPE_BF16;
  made.halves.resize(static_cast<size_t>(x.rows() * stride));
  made.write();
  for (int64_t i = 0; i < x.rows(); ++i)
    for (int64_t j = 0; j < x.columns(); ++j) {
      const uint16_t half = made.halves[static_cast<size_t>(i * stride + j)];
      x.at(i, j) = f16 ? value_of_f16(half) : value_of_bf16(half);
    }
  describe("features", f16 ? "f16" : "bf16");
  return {made.halves.data(), x.rows(), x.columns(), stride, made.dtype, 0};
}

}  // namespace duet::test::backends
