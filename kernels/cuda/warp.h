// Reductions over a warp, a part of one, or a block. Every lane gets the result, with the same bits: values are
// combined in the order of the lanes, whatever the schedule. All lanes of the warp (all threads of the block) must
// call; blocks are whole warps.
#pragma once

#include <cstring>

#include "kernels/cuda/launch.h"

namespace duet::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kMostWarps = 32;  // of a block

__device__ __forceinline__ int thread_of_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ __forceinline__ int threads_of_block() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }
__device__ __forceinline__ int lane_of_warp() { return thread_of_block() & 31; }
__device__ __forceinline__ int warp_of_block() { return thread_of_block() >> 5; }

// How two values are combined, `a` from the lower lane.
struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
// NaN where one of them is (fmaxf drops it). a != a holds for NaN alone, and never for an integer.
struct Max {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};
// The larger number, passing over NaN: for shifts, not for results.
struct MaxNumber {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ __forceinline__ double operator()(double a, double b) const { return ::fmax(a, b); }
};

// A value with the place where it stands: of two the larger, of equal ones the one at the lower place.
struct Placed {
  double value;
  int64_t at;
};
struct LargerFirst {
  __device__ __forceinline__ Placed operator()(const Placed& a, const Placed& b) const {
    return a.value > b.value || (a.value == b.value && a.at < b.at) ? a : b;
  }
};

// Any struct of 4-byte words through the shuffle of one word.
template <class T>
__device__ __forceinline__ T shuffle_xor(const T& value, int bits) {
  static_assert(sizeof(T) % 4 == 0 && std::is_trivially_copyable_v<T>);
  constexpr int kWords = static_cast<int>(sizeof(T) / 4);
  unsigned words[kWords];
  memcpy(words, &value, sizeof(T));
  DUET_UNROLL
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_xor_sync(kAllLanes, words[i], bits);
  T other;
  memcpy(&other, words, sizeof(T));
  return other;
}

// Over groups of kLanes neighbouring lanes (a power of two): 32 the warp, 4 the lanes that hold one row of an mma's
// result.
template <int kLanes = 32, class T, class Combine>
__device__ __forceinline__ T warp_reduce(T value, const Combine& combine) {
  static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0);
  const int lane = lane_of_warp();
  DUET_UNROLL
  for (int bits = 1; bits < kLanes; bits *= 2) {
    const T other = shuffle_xor(value, bits);
    value = lane & bits ? combine(other, value) : combine(value, other);
  }
  return value;
}
template <int kLanes = 32, class T>
__device__ __forceinline__ T warp_sum(T value) {
  return warp_reduce<kLanes>(value, Sum{});
}
template <int kLanes = 32, class T>
__device__ __forceinline__ T warp_max(T value) {
  return warp_reduce<kLanes>(value, Max{});
}
template <int kLanes = 32, class T>
__device__ __forceinline__ T warp_min(T value) {
  return warp_reduce<kLanes>(value, Min{});
}

// Two barriers: the first shows the warps' values to all, the second lets the next call (and whoever used shared memory
// before) go on.
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T value, const Combine& combine) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
  DUET_SHARED(unsigned char, storage, [kMostWarps * sizeof(T)]);
  T* const of_warp = reinterpret_cast<T*>(storage);
  value = warp_reduce(value, combine);
  if (lane_of_warp() == 0) of_warp[warp_of_block()] = value;
  __syncthreads();
  T result = of_warp[0];
  const int warps = threads_of_block() / 32;
  for (int warp = 1; warp < warps; ++warp) result = combine(result, of_warp[warp]);
  __syncthreads();
  return result;
}
template <class T>
__device__ __forceinline__ T block_sum(T value) {
  return block_reduce(value, Sum{});
}
template <class T>
__device__ __forceinline__ T block_max(T value) {
  return block_reduce(value, Max{});
}
template <class T>
__device__ __forceinline__ T block_min(T value) {
  return block_reduce(value, Min{});
}

}  // namespace duet::cuda
