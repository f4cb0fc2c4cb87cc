// The sigmoid loss of a pair (METHOD.md 5), W softplus(-x) + (1 - W) softplus(x), and its derivative by x,
// (1 - W) sigmoid(x) - W sigmoid(-x), both through decay = e^-|x|: no 1 - sigmoid. x = scale a.v + bias. F is a number
// as pairs/operation.h has it; each backend forms the decay as it does best.
#if defined(DUET_SIGMOID_FORMULA_H) == defined(HWY_TARGET_TOGGLE)
#ifdef DUET_SIGMOID_FORMULA_H
#undef DUET_SIGMOID_FORMULA_H
#else
#define DUET_SIGMOID_FORMULA_H
#endif

#include "kernels/pairs/operation.h"

DUET_FORMULA_BEGIN

// softplus(+-x) = max(+-x, 0) + log(1 + decay), of which the side with the wrong sign has the first term.
template <class F>
DUET_HOST_DEVICE inline F sigmoid_pair_loss(F x, F decay, F weight) {
  return mul_add(where_negative(x, weight, F(1.0f) - weight), magnitude(x), log_1_plus(decay));
}

// Of sigmoid(x) and sigmoid(-x) one is decay / (1 + decay) and the other 1 / (1 + decay).
template <class F>
DUET_HOST_DEVICE inline F sigmoid_pair_slope(F x, F decay, F weight) {
  const F one(1.0f), rest = one - weight, minus = F(0.0f) - weight;
  return where_negative(x, mul_add(rest, decay, minus), mul_add(minus, decay, rest)) / (one + decay);
}

DUET_FORMULA_END

#endif  // per target
