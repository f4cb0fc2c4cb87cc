// The numbers of a formula (pairs/operation.h) on the CPU: a vector of floats with + - * and the functions of
// pairs/number.h, which say what each of them is. Compiled once a SIMD target.
#if defined(DUET_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_CPU_LANES_INL_H_
#undef DUET_CPU_LANES_INL_H_
#else
#define DUET_CPU_LANES_INL_H_
#endif

#include "kernels/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {

struct Lanes {
  FloatVector v;

  Lanes() = default;  // unset
  HWY_INLINE explicit Lanes(float x) : v(hn::Set(kTag, x)) {}
  HWY_INLINE explicit Lanes(FloatVector x) : v(x) {}
};

HWY_INLINE Lanes operator+(Lanes a, Lanes b) { return Lanes(hn::Add(a.v, b.v)); }
HWY_INLINE Lanes operator-(Lanes a, Lanes b) { return Lanes(hn::Sub(a.v, b.v)); }
HWY_INLINE Lanes operator*(Lanes a, Lanes b) { return Lanes(hn::Mul(a.v, b.v)); }
HWY_INLINE Lanes mul_add(Lanes a, Lanes b, Lanes c) { return Lanes(hn::MulAdd(a.v, b.v, c.v)); }
HWY_INLINE Lanes select(Lanes condition, Lanes yes, Lanes no) {
  return Lanes(hn::IfThenElse(hn::Gt(condition.v, hn::Zero(kTag)), yes.v, no.v));
}
HWY_INLINE Lanes product_or_zero(Lanes a, Lanes b) {
  return Lanes(hn::IfThenZeroElse(hn::Eq(a.v, hn::Zero(kTag)), hn::Mul(a.v, b.v)));
}
HWY_INLINE Lanes positive_part(Lanes x) { return Lanes(hn::IfThenZeroElse(hn::Lt(x.v, hn::Zero(kTag)), x.v)); }
HWY_INLINE Lanes probability_of(Lanes x) {
  return Lanes(exp_below_89(kTag, hn::IfThenZeroElse(hn::Gt(x.v, hn::Zero(kTag)), x.v)));
}
// e^-|x|
HWY_INLINE Lanes decay_of(Lanes x) { return Lanes(exp_below_89(kTag, hn::Neg(hn::Abs(x.v)))); }
HWY_INLINE Lanes softplus(Lanes x) { return positive_part(x) + Lanes(log_1_plus(kTag, decay_of(x).v)); }
HWY_INLINE Lanes logistic(Lanes x) {
  const auto decay = decay_of(x).v, one = hn::Set(kTag, 1.0f);
  return Lanes(hn::Div(hn::IfThenElse(hn::Lt(x.v, hn::Zero(kTag)), decay, one), hn::Add(one, decay)));
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
