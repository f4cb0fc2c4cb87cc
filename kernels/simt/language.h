// The part of CUDA C++ that our kernels use, for a C++ compiler: qualifiers, vector types, barriers, warp intrinsics,
// atomics, mathematics.
#pragma once

#include <math.h>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>

#include "kernels/simt/simt.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// ---- vector types ----
struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// ---- barriers and fences ----
inline void __syncthreads(DUET_SIMT_CALLER) { duet::simt::barrier(DUET_SIMT_PLACE); }
inline int __syncthreads_count(int predicate, DUET_SIMT_CALLER) {
  return duet::simt::barrier(DUET_SIMT_PLACE, predicate != 0);
}
inline int __syncthreads_or(int predicate, DUET_SIMT_CALLER) {
  return duet::simt::barrier(DUET_SIMT_PLACE, predicate != 0) != 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, DUET_SIMT_CALLER) {
  const auto nothing = [](void* const*, uint32_t) {};
  duet::simt::collective(mask, "__syncwarp", DUET_SIMT_PLACE, nullptr, nothing, duet::simt::Kind::sync);
}
inline void __threadfence() { duet::simt::fence(); }

// ---- shuffles and votes ----
namespace duet::simt {

template <class T>
struct Exchange {
  T value, result;
  int source;
};
// A lane that is named but not there gives poison, as the hardware gives nothing defined.
template <class T>
T shuffle(uint32_t mask, T value, int source, const char* what, Place at) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 4 and 8 byte numbers");
  Exchange<T> mine{value, value, source};
  std::memset(&mine.result, 0xff, sizeof(T));
  collective(mask, what, at, &mine, [](void* const* lanes, uint32_t arrived) {
    for (uint32_t rest = arrived; rest; rest &= rest - 1) {
      auto& to = *static_cast<Exchange<T>*>(lanes[std::countr_zero(rest)]);
      if (arrived >> to.source & 1) to.result = static_cast<Exchange<T>*>(lanes[to.source])->value;
    }
  });
  return mine.result;
}

}  // namespace duet::simt

template <class T>
T __shfl_sync(unsigned mask, T value, int source, DUET_SIMT_CALLER) {
  return duet::simt::shuffle(mask, value, source & 31, "__shfl_sync", DUET_SIMT_PLACE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, DUET_SIMT_CALLER) {
  return duet::simt::shuffle(mask, value, duet::simt::lane() ^ bits, "__shfl_xor_sync", DUET_SIMT_PLACE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int by, DUET_SIMT_CALLER) {
  const int lane = duet::simt::lane();
  return duet::simt::shuffle(mask, value, lane >= by ? lane - by : lane, "__shfl_up_sync", DUET_SIMT_PLACE);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, DUET_SIMT_CALLER) {
  unsigned vote = predicate != 0;
  duet::simt::collective(mask, "__ballot_sync", DUET_SIMT_PLACE, &vote, [](void* const* lanes, uint32_t arrived) {
    unsigned ballot = 0;
    for (uint32_t rest = arrived; rest; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      ballot |= *static_cast<unsigned*>(lanes[lane]) << lane;
    }
    for (uint32_t rest = arrived; rest; rest &= rest - 1)
      *static_cast<unsigned*>(lanes[std::countr_zero(rest)]) = ballot;
  });
  return vote;
}
inline int __any_sync(unsigned mask, int predicate, DUET_SIMT_CALLER) {
  return __ballot_sync(mask, predicate, caller_file, caller_line) != 0;
}

// ---- atomics: relaxed, as CUDA's. The threads are fibers of one host thread; that each is atomic is for the
// sanitizers to see ----
#define DUET_SIMT_ATOMIC(name, expression)                                                                \
  template <class T>                                                                                      \
  T name(T* address, std::type_identity_t<T> value, DUET_SIMT_CALLER) {                                   \
    static_assert(std::is_integral_v<T>,                                                                  \
                  "no atomics on floating-point numbers: the order of their sums would decide the bits"); \
    duet::simt::touch_atomic(address, sizeof(T), DUET_SIMT_PLACE);                                        \
    const T old = __atomic_load_n(address, __ATOMIC_RELAXED);                                             \
    __atomic_store_n(address, static_cast<T>(expression), __ATOMIC_RELAXED);                              \
    return old;                                                                                           \
  }
DUET_SIMT_ATOMIC(atomicAdd, old + value)
DUET_SIMT_ATOMIC(atomicMin, old < value ? old : value)
DUET_SIMT_ATOMIC(atomicMax, old > value ? old : value)
DUET_SIMT_ATOMIC(atomicOr, old | value)
#undef DUET_SIMT_ATOMIC

// A part of its caller, whose line a finding shall name.
template <class T>
__attribute__((always_inline)) inline T __ldg(const T* address, DUET_SIMT_CALLER) {
  duet::simt::check_aligned(address, sizeof(T), "__ldg", DUET_SIMT_PLACE);
  return *address;
}

// ---- mathematics, exact to rounding here; bits ----
template <std::integral T>
T min(T a, T b) {
  return b < a ? b : a;
}
inline float __log2f(float x) { return std::log2(x); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
