// Vector mathematics of the CPU kernels, compiled once per SIMD target inside the files that use foreach_target.
// Polynomials are minimax fits, computed in double and rounded to float; the stated errors are measured by
// tests/kernels/vector_test.cpp.
#if defined(DUET_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_VECTOR_INL_H_
#undef DUET_CPU_VECTOR_INL_H_
#else
#define DUET_CPU_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <limits>

#include "kernels/core/constants.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes: scratch rows are padded to that (kLanePadding), so that only sums along a row need a mask at its
// end.
using FloatTag = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<FloatTag>;

// 16 significant bits: exact times any exponent, also where there is no FMA.
inline constexpr float kLn2High = 0.693145751953125f;
inline constexpr float kLn2Low = 1.42860677e-6f;

// e^x within 1 ulp (1.1 where there is no FMA) for x of at most 89; 0 for results below 1.7e-38 and for -inf, NaN for
// NaN.
HWY_INLINE FloatVector exp_below_89(FloatTag d, FloatVector x) {
  const hn::RebindToSigned<FloatTag> di;
  constexpr float kLowest = -86.98f;                  // 2^(n-1) of the last step stays a normal number
  const auto round_to_int = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it leaves the integer in the low bits
  const auto shifted = hn::MulAdd(x, hn::Set(d, kLog2E), round_to_int);
  const auto n = hn::Sub(shifted, round_to_int);
  const auto r = hn::NegMulAdd(n, hn::Set(d, kLn2Low), hn::NegMulAdd(n, hn::Set(d, kLn2High), x));
  // 2 e^r on |r| <= ln2/2; doubled, so that the scale below is 2^(n-1) and n = 128 needs no case of its own.
  auto p = hn::MulAdd(hn::Set(d, 2 * 0.00138145985f), r, hn::Set(d, 2 * 0.00836871688f));
  p = hn::MulAdd(p, r, hn::Set(d, 2 * 0.04166838805f));
  p = hn::MulAdd(p, r, hn::Set(d, 2 * 0.16666520632f));
  p = hn::MulAdd(p, r, hn::Set(d, 2 * 0.49999993448f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.0f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.0f));
  const auto scale = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 126 << 23));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kLowest)), hn::Mul(p, hn::BitCast(d, scale)));
}

// e^x with exp_below_89's errors, inf above the largest float.
HWY_INLINE FloatVector exp(FloatTag d, FloatVector x) {
  return exp_below_89(d, hn::Min(hn::Set(d, 89.0f), x));  // Min returns its second operand where x is NaN
}

// e^x, and e^most where x is more or NaN; most <= 89.
HWY_INLINE FloatVector exp_at_most(FloatTag d, FloatVector x, FloatVector most) {
  return exp_below_89(d, hn::IfThenElse(hn::Lt(x, most), x, most));
}

// e^(x scale) for |x scale| <= 40, on the way by 2^(x scale log2 e), its constant in two parts: no shift, no case at
// the edges. x is no NaN.
// Within 1 ulp, 24 where there is no FMA.
class BoundedExp {
 public:
  explicit BoundedExp(float scale)
      : high_(static_cast<float>(scale * kLog2EInDouble)),
        low_(static_cast<float>(scale * kLog2EInDouble - static_cast<double>(high_))) {}

  HWY_INLINE FloatVector operator()(FloatTag d, FloatVector x) const {
    const hn::RebindToSigned<FloatTag> di;
    const auto round_to_int = hn::Set(d, 12582912.0f), high = hn::Set(d, high_);
    const auto shifted = hn::MulAdd(x, high, round_to_int);
    const auto r = hn::MulAdd(x, hn::Set(d, low_), hn::MulSub(x, high, hn::Sub(shifted, round_to_int)));
    auto p = hn::MulAdd(hn::Set(d, 1.53211383e-4f), r, hn::Set(d, 1.33901728e-3f));  // exp's, its r in units of ln 2
    p = hn::MulAdd(p, r, hn::Set(d, 9.61852646e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 5.55036223e-2f));
    p = hn::MulAdd(p, r, hn::Set(d, 2.40226475e-1f));
    p = hn::MulAdd(p, r, hn::Set(d, 6.93147181e-1f));
    p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
    return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
  }

 private:
  float high_, low_;
};

// log x within 1.5 ulp, denormals included; -inf for 0, NaN below 0 and for NaN, inf for inf.
HWY_INLINE FloatVector log(FloatTag d, FloatVector x) {
  const hn::RebindToSigned<FloatTag> di;
  const auto zero = hn::Zero(d), infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const auto tiny = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const auto bits = hn::BitCast(di, hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 8388608.0f)), x));
  constexpr int32_t kSqrtHalf = 0x3F3504F3;
  const auto exponent = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, kSqrtHalf)));
  const auto f = hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent))),
                         hn::Set(d, 1.0f));  // in [sqrt(1/2) - 1, sqrt(2) - 1)
  const auto e = hn::Sub(hn::ConvertTo(d, exponent), hn::IfThenElseZero(tiny, hn::Set(d, 23.0f)));
  // log(1 + f) = f - f^2/2 + f^3 p(f)
  auto p = hn::MulAdd(hn::Set(d, 0.06746641057f), f, hn::Set(d, -0.11675651971f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.11888162096f));
  p = hn::MulAdd(p, f, hn::Set(d, -0.12405588884f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.14219552382f));
  p = hn::MulAdd(p, f, hn::Set(d, -0.16667995857f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.20002118658f));
  p = hn::MulAdd(p, f, hn::Set(d, -0.25000009599f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.33333312604f));
  const auto f2 = hn::Mul(f, f);
  auto y = hn::MulAdd(hn::Mul(f2, f), p, hn::Mul(e, hn::Set(d, kLn2Low)));
  y = hn::Add(hn::NegMulAdd(f2, hn::Set(d, 0.5f), y), f);
  y = hn::MulAdd(e, hn::Set(d, kLn2High), y);
  const auto edge =
      hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity),
                     hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, std::numeric_limits<float>::quiet_NaN()), x));
  return hn::IfThenElse(hn::And(hn::Gt(x, zero), hn::Lt(x, infinity)), y, edge);
}

// log(1 + u) for u in [0, 1] within 2 ulp, also where u is tiny: 2 atanh(z), z = u / (2 + u) <= 1/3. NaN for NaN.
HWY_INLINE FloatVector log_1_plus(FloatTag d, FloatVector u) {
  const auto z = hn::Div(u, hn::Add(u, hn::Set(d, 2.0f))), z2 = hn::Mul(z, z);
  auto p = hn::MulAdd(z2, hn::Set(d, 2.0f / 13), hn::Set(d, 2.0f / 11));
  p = hn::MulAdd(p, z2, hn::Set(d, 2.0f / 9));
  p = hn::MulAdd(p, z2, hn::Set(d, 2.0f / 7));
  p = hn::MulAdd(p, z2, hn::Set(d, 2.0f / 5));
  p = hn::MulAdd(p, z2, hn::Set(d, 2.0f / 3));
  return hn::MulAdd(hn::Mul(z2, z), p, hn::Add(z, z));
}

// The larger of two, NaN where either is NaN, whichever way the processor's own maximum treats it. (Ne is no test for
// NaN: it is ordered.)
HWY_INLINE FloatVector max_or_nan(FloatVector a, FloatVector b) {
  return hn::IfThenElse(hn::And(hn::Eq(a, a), hn::Not(hn::Gt(a, b))), b, a);
}

HWY_INLINE float sum_of_lanes(FloatTag d, FloatVector x) { return hn::GetLane(hn::SumOfLanes(d, x)); }

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
