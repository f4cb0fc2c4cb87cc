// The activations of one element, for the kernels here and for the layers that end in one.
#pragma once

#include "kernels/activation/gelu_tail.h"
#include "kernels/activation/relu_dropout_cuda.h"

namespace duet::cuda {

struct Tanh {
  __device__ static float value(float x) { return tanhf(x); }
  // 1 - tanh^2 without its cancellation: 4 e / (1 + e)^2, e = exp(-2 |x|).
  __device__ static float slope(float x) {
    const float e = expf(-2 * fabsf(x)), sum = 1 + e;
    return 4 * e / (sum * sum);
  }
};

struct Gelu {
  struct Tail {
    float t, bell, below;  // min(|x|, kGeluTailEnd), exp(-t^2 / 2), Phi(-t)
  };
  __device__ static Tail tail(float x) {
    const float t = fminf(fabsf(x), kGeluTailEnd), bell = expf(-0.5f * t * t), u = 1 / fmaf(0.3f, t, 1);
    float p = gelu_tail_coefficient(kGeluTailDegree);
    DUET_UNROLL
    for (int k = kGeluTailDegree - 1; k >= 0; --k) p = fmaf(p, u, gelu_tail_coefficient(k));
    return {t, bell, bell * (u * p)};
  }
  // x Phi(x) = x - t Phi(-t) above 0, -t Phi(-t) below: no cancellation on either side, 0 at -inf.
  __device__ static float value(float x) {
    const Tail of = tail(x);
    return x != x ? x : fmaf(-of.t, of.below, x < 0 ? 0 : x);
  }
  // Phi(x) + x phi(x)
  __device__ static float slope(float x) {
    const Tail of = tail(x);
    const float phi = 0.3989422804014327f * of.bell, cumulative = x < 0 ? of.below : 1 - of.below;
    return x != x ? x : fmaf(x < 0 ? -of.t : of.t, phi, cumulative);
  }
};

// The activation of a kind that is known at run time only.
__device__ inline float activation_value(duet_activation_kind kind, float x) {
  return kind == DUET_ACTIVATION_KIND_RELU   ? Relu::value(x)
         : kind == DUET_ACTIVATION_KIND_TANH ? Tanh::value(x)
                                             : Gelu::value(x);
}
__device__ inline float activation_slope(duet_activation_kind kind, float x) {
  return kind == DUET_ACTIVATION_KIND_RELU   ? Relu::slope(x)
         : kind == DUET_ACTIVATION_KIND_TANH ? Tanh::slope(x)
                                             : Gelu::slope(x);
}

}  // namespace duet::cuda
