// The numbers of a formula (pairs/operation.h) on the CPU: a vector of floats with + - * / and the functions of
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
HWY_INLINE Lanes operator/(Lanes a, Lanes b) { return Lanes(hn::Div(a.v, b.v)); }
// Rounded twice where the processor has no fused multiply-add.
HWY_INLINE Lanes mul_add(Lanes a, Lanes b, Lanes c) { return Lanes(hn::MulAdd(a.v, b.v, c.v)); }
HWY_INLINE Lanes select(Lanes condition, Lanes yes, Lanes no) {
  return Lanes(hn::IfThenElse(hn::Gt(condition.v, hn::Zero(kTag)), yes.v, no.v));
}
HWY_INLINE Lanes where_negative(Lanes x, Lanes yes, Lanes no) {
  return Lanes(hn::IfThenElse(hn::Lt(x.v, hn::Zero(kTag)), yes.v, no.v));
}
HWY_INLINE Lanes magnitude(Lanes x) { return Lanes(hn::Abs(x.v)); }
HWY_INLINE Lanes log_1_plus(Lanes u) { return Lanes(log_1_plus(kTag, u.v)); }
HWY_INLINE Lanes product_or_zero(Lanes a, Lanes b) {
  return Lanes(hn::IfThenZeroElse(hn::Eq(a.v, hn::Zero(kTag)), hn::Mul(a.v, b.v)));
}
HWY_INLINE Lanes positive_part(Lanes x) { return Lanes(hn::IfThenZeroElse(hn::Lt(x.v, hn::Zero(kTag)), x.v)); }
HWY_INLINE Lanes probability_of(Lanes x) {
  return Lanes(exp_below_89(kTag, hn::IfThenZeroElse(hn::Gt(x.v, hn::Zero(kTag)), x.v)));
}
// e^-|x|
HWY_INLINE Lanes decay_of(Lanes x) { return Lanes(exp_below_89(kTag, hn::Neg(hn::Abs(x.v)))); }
HWY_INLINE Lanes softplus(Lanes x) { return positive_part(x) + log_1_plus(decay_of(x)); }
HWY_INLINE Lanes logistic(Lanes x) {
  const Lanes decay = decay_of(x), one(1.0f);
  return where_negative(x, decay, one) / (one + decay);
}

}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
