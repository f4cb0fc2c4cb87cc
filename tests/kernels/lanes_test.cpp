// The numbers of a formula (pairs/operation.h): a vector's functions are those of one float, on every SIMD target that
// this processor runs.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/lanes_test.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/lanes-inl.h"

#ifndef DUET_TESTS_LANES_FUNCTIONS
#define DUET_TESTS_LANES_FUNCTIONS
enum class NumberFunction {
  add,
  subtract,
  multiply,
  divide,
  mul_add,
  select,
  where_negative,
  product_or_zero,
  positive_part,
  magnitude,
  probability_of,
  log_1_plus,
  softplus,
  logistic,
  count
};

// Of F in whose namespace it stands; a, b, c: F.
#define DUET_TESTS_APPLY                                                 \
  switch (function) {                                                    \
    case NumberFunction::add: return a + b;                              \
    case NumberFunction::subtract: return a - b;                         \
    case NumberFunction::multiply: return a * b;                         \
    case NumberFunction::divide: return a / b;                           \
    case NumberFunction::mul_add: return mul_add(a, b, c);               \
    case NumberFunction::select: return select(a, b, c);                 \
    case NumberFunction::where_negative: return where_negative(a, b, c); \
    case NumberFunction::product_or_zero: return product_or_zero(a, b);  \
    case NumberFunction::positive_part: return positive_part(a);         \
    case NumberFunction::magnitude: return magnitude(a);                 \
    case NumberFunction::probability_of: return probability_of(a);       \
    case NumberFunction::log_1_plus: return log_1_plus(a);               \
    case NumberFunction::softplus: return softplus(a);                   \
    default: return logistic(a);                                         \
  }
#endif

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

Lanes apply(NumberFunction function, Lanes a, Lanes b, Lanes c) { DUET_TESTS_APPLY }

void lanes_of(NumberFunction function, const float* a, const float* b, const float* c, float* out, int64_t count) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(kTag));
  for (int64_t k = 0; k + lanes <= count; k += lanes)
    hn::StoreU(
        apply(function, Lanes(hn::LoadU(kTag, a + k)), Lanes(hn::LoadU(kTag, b + k)), Lanes(hn::LoadU(kTag, c + k))).v,
        kTag, out + k);
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <doctest/doctest.h>

#include "kernels/pairs/number.h"
#include "tests/support/simd_targets.h"

namespace duet {
float apply(NumberFunction function, float a, float b, float c) { DUET_TESTS_APPLY }

namespace cpu {
HWY_EXPORT(lanes_of);
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNoNumber = std::numeric_limits<float>::quiet_NaN();

// Every edge with every other, and numbers between, of which no product is infinite.
std::vector<float> arguments_of(bool shares) {
  std::vector<float> out{0.0f, 1e-30f, 0.5f, 1.0f, kNoNumber};
  for (int k = 0; k <= 20; ++k) out.push_back(static_cast<float>(k) / 20);
  if (shares) return out;  // log_1_plus takes 0 to 1
  for (const float x : {-0.0f, -1e-30f, -1.0f, 88.0f, -88.0f, 1e18f, -1e18f, kInfinity, -kInfinity}) out.push_back(x);
  for (int k = -30; k <= 30; ++k) out.push_back(1.7f * static_cast<float>(k));
  return out;
}

}  // namespace

TEST_CASE("a vector of a formula's numbers computes what one number does") {
  duet::test::for_each_simd_target([] {
    for (int f = 0; f < static_cast<int>(NumberFunction::count); ++f) {
      const auto function = static_cast<NumberFunction>(f);
      CAPTURE(f);
      const std::vector<float> values = arguments_of(function == NumberFunction::log_1_plus);
      std::vector<float> a, b, c;
      for (const float x : values)
        for (const float y : values) a.push_back(x), b.push_back(y), c.push_back(y - 0.3f * x);
      while (a.size() % 16 != 0) a.push_back(1), b.push_back(2), c.push_back(3);
      std::vector<float> out(a.size());
      HWY_DYNAMIC_DISPATCH(lanes_of)
      (function, a.data(), b.data(), c.data(), out.data(), static_cast<int64_t>(a.size()));
      for (size_t k = 0; k < a.size(); ++k) {
        CAPTURE(a[k]);
        CAPTURE(b[k]);
        CAPTURE(c[k]);
        const float expected = apply(function, a[k], b[k], c[k]);
        if (!std::isfinite(expected)) {
          CHECK((std::isnan(expected) ? std::isnan(out[k]) : out[k] == expected));
          continue;
        }
        // 4 units in the last place: one of either exponential or logarithm, one of what follows it. Without a fused
        // multiply-add the product is rounded too. Exponentials below 1.7e-38 are 0.
        const double size = function == NumberFunction::mul_add ? std::abs(double{a[k]} * b[k]) + std::abs(double{c[k]})
                                                                : std::abs(double{expected});
        CHECK(std::abs(double{out[k]} - expected) <= 4 * 6e-8 * size + 1.8e-38);
      }
    }
  });
}

}  // namespace cpu
}  // namespace duet
#endif
