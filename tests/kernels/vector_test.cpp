// Accuracy of the vector mathematics, on every SIMD target that this processor runs.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/vector_test.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

enum class Function { exp, log, log_1_plus };

void evaluate(Function function, const float* in, float* out, int64_t count) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k + lanes <= count; k += lanes) {
    const auto x = hn::LoadU(d, in + k);
    hn::StoreU(function == Function::exp   ? exp(d, x)
               : function == Function::log ? log(d, x)
                                           : log_1_plus(d, x),
               d, out + k);
  }
}

void exp_of(const float* in, float* out, int64_t count) { evaluate(Function::exp, in, out, count); }
// e^(3 x) for |3 x| <= 40
void bounded_exp_of(const float* in, float* out, int64_t count) {
  const FloatTag d;
  const BoundedExp exponential(3);
  for (int64_t k = 0; k + static_cast<int64_t>(hn::Lanes(d)) <= count; k += static_cast<int64_t>(hn::Lanes(d)))
    hn::StoreU(exponential(d, hn::LoadU(d, in + k)), d, out + k);
}
void log_of(const float* in, float* out, int64_t count) { evaluate(Function::log, in, out, count); }
void log_1_plus_of(const float* in, float* out, int64_t count) { evaluate(Function::log_1_plus, in, out, count); }

float larger_of(float a, float b) { return hn::GetLane(max_or_nan(hn::Set(FloatTag(), a), hn::Set(FloatTag(), b))); }
float sum_of(const float* in) { return sum_of_lanes(FloatTag(), hn::LoadU(FloatTag(), in)); }

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <doctest/doctest.h>

#include "tests/support/simd_targets.h"

namespace duet::cpu {
HWY_EXPORT(exp_of);
HWY_EXPORT(bounded_exp_of);
HWY_EXPORT(log_of);
HWY_EXPORT(log_1_plus_of);
HWY_EXPORT(larger_of);
HWY_EXPORT(sum_of);
}  // namespace duet::cpu

namespace {

using namespace duet::cpu;
const float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

// Floats from low to high, evenly spaced in their bits (0 < low < high), every step-th of them.
std::vector<float> floats_between(float low, float high, uint32_t step) {
  uint32_t first, last;
  std::memcpy(&first, &low, 4);
  std::memcpy(&last, &high, 4);
  std::vector<float> out;
  for (uint64_t bits = first; bits <= last; bits += step) {
    const uint32_t word = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &word, 4);
    out.push_back(value);
  }
  while (out.size() % 16 != 0) out.push_back(high);
  return out;
}

double largest_ulps(const std::vector<float>& in, const std::vector<float>& out, double (*exact)(double)) {
  double worst = 0;
  for (size_t k = 0; k < in.size(); ++k) {
    const double want = exact(in[k]);
    const float magnitude = std::max(std::abs(static_cast<float>(want)), std::numeric_limits<float>::min());
    const double ulp = double{std::nextafter(magnitude, kInfinity)} - magnitude;
    worst = std::max(worst, std::abs(out[k] - want) / ulp);
  }
  return worst;
}

}  // namespace

TEST_CASE("the exponential of a bounded score") {
  duet::test::for_each_simd_target([] {
    const auto run = HWY_DYNAMIC_DISPATCH(bounded_exp_of);
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> in = floats_between(1e-9f, 40.0f / 3, 1009);
      for (float& x : in) x *= sign;
      std::vector<float> out(in.size());
      run(in.data(), out.data(), static_cast<int64_t>(in.size()));
      // Without FMA the product with log2 e is rounded: at 58 to 2^-19 of an exponent, which is 11 to 22 ulp of the
      // power.
      CHECK(largest_ulps(in, out, [](double x) { return std::exp(3 * x); }) <=
            ((hwy::SupportedTargets() & HWY_SSE4) != 0 ? 24 : 1));
    }
  });
}

TEST_CASE("vector exp is within 1.1 ulp and right at the edges") {
  duet::test::for_each_simd_target([] {
    const auto run = HWY_DYNAMIC_DISPATCH(exp_of);
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> in = floats_between(1e-9f, sign > 0 ? 88.7f : 86.9f, 1009);
      for (float& x : in) x *= sign;
      std::vector<float> out(in.size());
      run(in.data(), out.data(), static_cast<int64_t>(in.size()));
      CHECK(largest_ulps(in, out, [](double x) { return std::exp(x); }) <= 1.1);  // 1 where there is FMA
    }
    const std::vector<float> edges{0,      -0.0f,  kInfinity, -kInfinity,           kNan, 88.72f, 88.73f, 1e30f,
                                   -1e30f, -87.5f, -104,      -std::nanf("0x1234"), 1,    1,      1,      1};
    std::vector<float> out(edges.size());
    run(edges.data(), out.data(), 16);
    CHECK(out[0] == 1);
    CHECK(out[1] == 1);
    CHECK(out[2] == kInfinity);
    CHECK(out[3] == 0);
    CHECK(std::isnan(out[4]));
    CHECK(std::isfinite(out[5]));
    CHECK(out[6] == kInfinity);
    CHECK(out[7] == kInfinity);
    CHECK(out[8] == 0);
    CHECK(out[9] == 0);
    CHECK(out[10] == 0);
    CHECK(std::isnan(out[11]));
  });
}

TEST_CASE("vector log is within 1.5 ulp, denormals included, and right at the edges") {
  duet::test::for_each_simd_target([] {
    const auto run = HWY_DYNAMIC_DISPATCH(log_of);
    for (const auto& [low, high, step] : {std::tuple{1e-45f, 3.4e38f, 4001u}, std::tuple{0.5f, 2.0f, 11u}}) {
      const std::vector<float> in = floats_between(low, high, step);
      std::vector<float> out(in.size());
      run(in.data(), out.data(), static_cast<int64_t>(in.size()));
      CHECK(largest_ulps(in, out, [](double x) { return std::log(x); }) <= 1.5);
    }
    const std::vector<float> edges{0, -0.0f, kInfinity, -kInfinity, kNan, -1, 1, 1e-45f, 1, 1, 1, 1, 1, 1, 1, 1};
    std::vector<float> out(edges.size());
    run(edges.data(), out.data(), 16);
    CHECK(out[0] == -kInfinity);
    CHECK(out[1] == -kInfinity);
    CHECK(out[2] == kInfinity);
    CHECK(std::isnan(out[3]));
    CHECK(std::isnan(out[4]));
    CHECK(std::isnan(out[5]));
    CHECK(out[6] == 0);
    CHECK(out[7] == doctest::Approx(std::log(1e-45f)));
  });
}

TEST_CASE("vector log(1 + u) is within 2 ulp on [0, 1]") {
  duet::test::for_each_simd_target([] {
    const auto run = HWY_DYNAMIC_DISPATCH(log_1_plus_of);
    const std::vector<float> in = floats_between(1.2e-38f, 1.0f, 1009);
    std::vector<float> out(in.size());
    run(in.data(), out.data(), static_cast<int64_t>(in.size()));
    CHECK(largest_ulps(in, out, [](double x) { return std::log1p(x); }) <= 2);
    const std::vector<float> edges{0, kNan, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    std::vector<float> edge_out(edges.size());
    run(edges.data(), edge_out.data(), 16);
    CHECK(edge_out[0] == 0);
    CHECK(std::isnan(edge_out[1]));
  });
}

TEST_CASE("the vector maximum keeps NaN on either side, the sum takes every lane") {
  duet::test::for_each_simd_target([] {
    const auto larger = HWY_DYNAMIC_DISPATCH(larger_of);
    CHECK(larger(1, 2) == 2);
    CHECK(larger(2, 1) == 2);
    CHECK(larger(-kInfinity, 1) == 1);
    CHECK(std::isnan(larger(kNan, 1)));
    CHECK(std::isnan(larger(1, kNan)));
    const std::vector<float> ones(16, 1);
    const float sum = HWY_DYNAMIC_DISPATCH(sum_of)(ones.data());
    CHECK((sum == 4 || sum == 8 || sum == 16));
  });
}
#endif
