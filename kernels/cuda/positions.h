// Small work on the rows or columns of a matrix: a thread each.
#pragma once

#include "kernels/core/ceil_div.h"
#include "kernels/core/dispatch.h"
#include "kernels/cuda/launch.h"

namespace duet::cuda {

inline constexpr int kPositionThreads = 128;

// A number of blocks in the launch bounds: without it some bodies in double spill on sm_120.
template <class Body>
__global__ void __launch_bounds__(kPositionThreads, 1) positions_kernel(int64_t count, Body body) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kPositionThreads + threadIdx.x;
  if (i < count) body(i);
}

// body(i) for i < count, in any order.
template <class Body>
void for_each_position(const duet_context& context, int64_t count, const Body& body) {
  DUET_LAUNCH(positions_kernel<Body>, ceil_div(count, kPositionThreads), kPositionThreads, 0, context.stream)
  (count, body);
}

}  // namespace duet::cuda
