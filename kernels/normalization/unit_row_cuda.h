// One row of unit_rows, for the kernels here and for operations that begin with it. Everything within a row is in
// double (PLAN.md).
#pragma once

#include "kernels/cuda/rows.h"

namespace duet::cuda {

template <int kWidth>
__device__ __forceinline__ double dot(const Pack<kWidth>& a, const Pack<kWidth>& b) {
  double sum = 0;
  DUET_UNROLL
  for (int e = 0; e < kWidth; ++e) sum += double{a.at[e]} * double{b.at[e]};
  return sum;
}
template <class Team, int kWidth>
__device__ double norm(const float* x, int64_t size) {
  return sqrt(Team::template sum_over<kWidth>(size, [=](int64_t k) {
    const Pack<kWidth> value = load<kWidth>(x + k);
    return dot(value, value);
  }));
}

// Calls put(k, values) for neighbouring elements, in the thread of the team that owns them. The comparison is written
// so that a NaN norm is not clipped.
template <class Team, int kWidth, class Put>
__device__ void unit_row(const float* x, int64_t size, double eps, const Put& put) {
  const double length = norm<Team, kWidth>(x, size), scale = 1 / (length < eps ? eps : length);
  Team::template each<kWidth>(size, [=](int64_t k) {
    Pack<kWidth> value = load<kWidth>(x + k);
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) value.at[e] = static_cast<float>(value.at[e] * scale);
    put(k, value);
  });
}

// Adds to grad the gradient by x, from g, the gradient by the unit row. A thread reads only its own elements of g.
template <class Team, int kWidth>
__device__ void unit_row_backward(const float* x, const float* g, int64_t size, double eps, float* grad) {
  const double length = norm<Team, kWidth>(x, size);
  const bool clipped = length < eps;
  const double scale = 1 / (clipped ? eps : length);
  const double product =
      Team::template sum_over<kWidth>(size, [=](int64_t k) { return dot(load<kWidth>(x + k), load<kWidth>(g + k)); });
  const double along = scale * scale * product;
  Team::template each<kWidth>(size, [=](int64_t k) {
    const Pack<kWidth> value = load<kWidth>(x + k), upstream = load<kWidth>(g + k);
    Pack<kWidth> sum = load<kWidth>(grad + k);
    DUET_UNROLL
    for (int e = 0; e < kWidth; ++e) {
      const double direction = clipped ? double{upstream.at[e]} : upstream.at[e] - value.at[e] * along;
      sum.at[e] = static_cast<float>(direction * scale + sum.at[e]);
    }
    store(grad + k, sum);
  });
}

}  // namespace duet::cuda
