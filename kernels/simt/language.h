// The part of CUDA C++ that our kernels use, for a C++ compiler: qualifiers, vector types, barriers, warp intrinsics, atomics, mathematics.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/simt/simt.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __shared__ static_assert(false, "write DUET_SHARED(type, name, [extent])")
#define __constant__ static_assert(false, "pass constants as kernel arguments")

// ---- vector types ----
#define DUET_SIMT_VECTOR2(name, type, bytes) \
  struct alignas(bytes) name {               \
    type x, y;                               \
  };                                         \
  inline name make_##name(type x, type y) { return {x, y}; }
#define DUET_SIMT_VECTOR4(name, type, bytes) \
  struct alignas(bytes) name {               \
    type x, y, z, w;                         \
  };                                         \
  inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
DUET_SIMT_VECTOR2(float2, float, 8)
DUET_SIMT_VECTOR4(float4, float, 16)
DUET_SIMT_VECTOR2(int2, int, 8)
DUET_SIMT_VECTOR4(int4, int, 16)
DUET_SIMT_VECTOR2(uint2, unsigned, 8)
DUET_SIMT_VECTOR4(uint4, unsigned, 16)
DUET_SIMT_VECTOR2(ushort2, unsigned short, 4)
DUET_SIMT_VECTOR4(ushort4, unsigned short, 8)
DUET_SIMT_VECTOR4(uchar4, unsigned char, 4)
DUET_SIMT_VECTOR2(double2, double, 16)
DUET_SIMT_VECTOR2(longlong2, long long, 16)
DUET_SIMT_VECTOR2(ulonglong2, unsigned long long, 16)
#undef DUET_SIMT_VECTOR2
#undef DUET_SIMT_VECTOR4

// ---- barriers and fences ----
inline void __syncthreads(DUET_SIMT_CALLER) { duet::simt::barrier(DUET_SIMT_PLACE); }
inline int __syncthreads_count(int predicate, DUET_SIMT_CALLER) {
  int vote = predicate != 0;
  duet::simt::barrier(DUET_SIMT_PLACE, &vote);
  return vote;
}
inline int __syncthreads_or(int predicate, DUET_SIMT_CALLER) { return __syncthreads_count(predicate, caller_file, caller_line) != 0; }
inline int __syncthreads_and(int predicate, DUET_SIMT_CALLER) { return __syncthreads_count(!predicate, caller_file, caller_line) == 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, DUET_SIMT_CALLER) {
  duet::simt::collective(
      mask, "__syncwarp", DUET_SIMT_PLACE, nullptr, [](void* const*, uint32_t) {}, duet::simt::Memory::ordered);
}
inline void __threadfence() { duet::simt::fence(); }
inline void __threadfence_block() { duet::simt::fence(); }
inline void __nanosleep(unsigned, DUET_SIMT_CALLER) { duet::simt::poll(DUET_SIMT_PLACE); }

// ---- shuffles, votes, reductions ----
namespace duet::simt {

template <class T>
struct Exchange {
  T value;
  int source;
};
// A lane that is named but not there gives poison, as the hardware gives nothing defined.
template <class T>
T shuffle(uint32_t mask, T value, int source, const char* what, Place at) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles 4 and 8 byte numbers");
  Exchange<T> mine{value, source};
  collective(mask, what, at, &mine, [](void* const* lanes, uint32_t arrived) {
    T values[32];
    std::memset(values, 0xff, sizeof values);
    for (int lane = 0; lane < 32; ++lane)
      if (arrived >> lane & 1) values[lane] = static_cast<Exchange<T>*>(lanes[lane])->value;
    for (int lane = 0; lane < 32; ++lane) {
      if (!(arrived >> lane & 1)) continue;
      auto& exchange = *static_cast<Exchange<T>*>(lanes[lane]);
      exchange.value = values[exchange.source];
    }
  });
  return mine.value;
}

template <class T, class Combine>
T reduce(uint32_t mask, T value, Combine, const char* what, Place at) {
  collective(mask, what, at, &value, [](void* const* lanes, uint32_t arrived) {
    T result = *static_cast<T*>(lanes[__builtin_ctz(arrived)]);
    for (uint32_t rest = arrived & (arrived - 1); rest; rest &= rest - 1) result = Combine{}(result, *static_cast<T*>(lanes[__builtin_ctz(rest)]));
    for (uint32_t rest = arrived; rest; rest &= rest - 1) *static_cast<T*>(lanes[__builtin_ctz(rest)]) = result;
  });
  return value;
}

// Relaxed, as CUDA's; a loop of compare-and-swap so that the race checker sees every one as atomic.
template <class T, class Change>
T atomic(T* address, Change change) {
  static_assert(std::is_integral_v<T>, "no atomics on floating-point numbers: the order of their sums would decide the bits");
  touch_atomic();
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(address, &old, change(old), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

}  // namespace duet::simt

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, DUET_SIMT_CALLER) {
  const int lane = duet::simt::lane();
  return duet::simt::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), "__shfl_sync", DUET_SIMT_PLACE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, DUET_SIMT_CALLER) {
  const int lane = duet::simt::lane(), source = lane ^ bits;
  return duet::simt::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, "__shfl_xor_sync", DUET_SIMT_PLACE);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, DUET_SIMT_CALLER) {
  const int lane = duet::simt::lane();
  return duet::simt::shuffle(mask, value, (lane & (width - 1)) + by < unsigned(width) ? lane + int(by) : lane, "__shfl_down_sync", DUET_SIMT_PLACE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, DUET_SIMT_CALLER) {
  const int lane = duet::simt::lane();
  return duet::simt::shuffle(mask, value, unsigned(lane & (width - 1)) >= by ? lane - int(by) : lane, "__shfl_up_sync", DUET_SIMT_PLACE);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, DUET_SIMT_CALLER) {
  const unsigned mine = predicate ? 1u << duet::simt::lane() : 0;
  return duet::simt::reduce(
      mask, mine, [](unsigned a, unsigned b) { return a | b; }, "__ballot_sync", DUET_SIMT_PLACE);
}
inline int __any_sync(unsigned mask, int predicate, DUET_SIMT_CALLER) { return __ballot_sync(mask, predicate, caller_file, caller_line) != 0; }
inline int __all_sync(unsigned mask, int predicate, DUET_SIMT_CALLER) { return __ballot_sync(mask, !predicate, caller_file, caller_line) == 0; }

#define DUET_SIMT_REDUCE(name, type, expression)                                               \
  inline type name(unsigned mask, type value, DUET_SIMT_CALLER) {                              \
    return duet::simt::reduce(                                                                 \
        mask, value, [](type a, type b) { return type(expression); }, #name, DUET_SIMT_PLACE); \
  }
DUET_SIMT_REDUCE(__reduce_add_sync, unsigned, a + b)
DUET_SIMT_REDUCE(__reduce_add_sync, int, unsigned(a) + unsigned(b))
DUET_SIMT_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
DUET_SIMT_REDUCE(__reduce_min_sync, int, a < b ? a : b)
DUET_SIMT_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
DUET_SIMT_REDUCE(__reduce_max_sync, int, a > b ? a : b)
DUET_SIMT_REDUCE(__reduce_and_sync, unsigned, a& b)
DUET_SIMT_REDUCE(__reduce_or_sync, unsigned, a | b)
DUET_SIMT_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
#undef DUET_SIMT_REDUCE

// ---- atomics ----
#define DUET_SIMT_ATOMIC(name, expression)                                                 \
  template <class T>                                                                       \
  T name(T* address, std::type_identity_t<T> value) {                                      \
    return duet::simt::atomic(address, [=](T old) { return static_cast<T>(expression); }); \
  }
DUET_SIMT_ATOMIC(atomicAdd, old + value)
DUET_SIMT_ATOMIC(atomicSub, old - value)
DUET_SIMT_ATOMIC(atomicMin, old < value ? old : value)
DUET_SIMT_ATOMIC(atomicMax, old > value ? old : value)
DUET_SIMT_ATOMIC(atomicAnd, old& value)
DUET_SIMT_ATOMIC(atomicOr, old | value)
DUET_SIMT_ATOMIC(atomicXor, old ^ value)
DUET_SIMT_ATOMIC(atomicExch, (static_cast<void>(old), value))
DUET_SIMT_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
#undef DUET_SIMT_ATOMIC
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return duet::simt::atomic(address, [=](T old) { return old == expected ? value : old; });
}

// ---- loads and stores with a cache hint ----
#define DUET_SIMT_LOAD(name)                                               \
  template <class T>                                                       \
  T name(const T* address, DUET_SIMT_CALLER) {                             \
    duet::simt::check_aligned(address, sizeof(T), #name, DUET_SIMT_PLACE); \
    return *address;                                                       \
  }
#define DUET_SIMT_STORE(name)                                              \
  template <class T>                                                       \
  void name(T* address, std::type_identity_t<T> value, DUET_SIMT_CALLER) { \
    duet::simt::check_aligned(address, sizeof(T), #name, DUET_SIMT_PLACE); \
    *address = value;                                                      \
  }
DUET_SIMT_LOAD(__ldg)
DUET_SIMT_LOAD(__ldcg)
DUET_SIMT_LOAD(__ldcs)
DUET_SIMT_LOAD(__ldca)
DUET_SIMT_STORE(__stcg)
DUET_SIMT_STORE(__stcs)
DUET_SIMT_STORE(__stwb)
DUET_SIMT_STORE(__stwt)
#undef DUET_SIMT_LOAD
#undef DUET_SIMT_STORE

// ---- mathematics: the fast intrinsics are exact to rounding here ----
#define DUET_SIMT_MIN_MAX(type)                             \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
DUET_SIMT_MIN_MAX(int)
DUET_SIMT_MIN_MAX(unsigned)
DUET_SIMT_MIN_MAX(long)
DUET_SIMT_MIN_MAX(unsigned long)
DUET_SIMT_MIN_MAX(long long)
DUET_SIMT_MIN_MAX(unsigned long long)
#undef DUET_SIMT_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return float(1 / std::sqrt(double(x))); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
#define __expf(x) ::std::exp(float(x))
#define __exp10f(x) ::std::pow(10.0f, float(x))
#define __logf(x) ::std::log(float(x))
#define __log2f(x) ::std::log2(float(x))
#define __sinf(x) ::std::sin(float(x))
#define __cosf(x) ::std::cos(float(x))
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double x) { return std::sqrt(x); }

// ---- bits ----
inline float __int_as_float(int bits) { return __builtin_bit_cast(float, bits); }
inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline double __longlong_as_double(long long bits) { return __builtin_bit_cast(double, bits); }
inline long long __double_as_longlong(double x) { return __builtin_bit_cast(long long, x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(Wide(a) * b >> 64);
}
inline int __float2int_rn(float x) { return int(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline int __float2int_rd(float x) { return int(std::floor(x)); }
inline int __float2int_ru(float x) { return int(std::ceil(x)); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }
