// Running sums over the threads of a block, in the order of the threads whatever the schedule.
#pragma once

#include "kernels/cuda/warp.h"

namespace duet::cuda {

// The sum of the lower threads' values; whole gets that of all. For whole blocks of whole warps.
template <class T>
__device__ __forceinline__ T block_sum_before(T value, T& whole) {
  DUET_SHARED(T, of_warp, [kMostWarps]);
  const int lane = lane_of_warp(), warp = warp_of_block(), warps = threads_of_block() / 32;
  T inclusive = value;
  DUET_UNROLL
  for (int offset = 1; offset < 32; offset *= 2) {
    const T lower = __shfl_up_sync(kAllLanes, inclusive, offset);
    if (lane >= offset) inclusive += lower;
  }
  const T before_lane = __shfl_up_sync(kAllLanes, inclusive, 1);
  if (lane == 31) of_warp[warp] = inclusive;
  __syncthreads();
  T before = 0;
  whole = 0;
  for (int w = 0; w < warps; ++w) {
    if (w == warp) before = whole;
    whole += of_warp[w];
  }
  __syncthreads();
  return lane == 0 ? before : before + before_lane;
}

}  // namespace duet::cuda
