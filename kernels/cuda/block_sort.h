// For kernels that give each row to a block: the order of distances as integers, and a bitonic sort of a row's keys in
// shared memory.
#pragma once

#include <cstdint>

#include "kernels/core/host_device.h"
#include "kernels/cuda/launch.h"

namespace duet::cuda {

// Bits that rise as the value does: -0 as 0, every NaN last.
__device__ inline uint32_t rising_bits(float value) {
  if (isnan(value)) return ~0u;
  const uint32_t bits = __float_as_uint(value + 0.0f);
  return bits ^ (bits >> 31 ? ~0u : 1u << 31);
}
__device__ inline float rising_value(uint32_t bits) { return __uint_as_float(bits ^ (bits >> 31 ? 1u << 31 : ~0u)); }

// A value of a row and its column as one integer: in order of value, equal ones by column. The bits are rising ones, or
// falling (their complement).
inline constexpr uint64_t kNoKey = ~uint64_t{0};
__device__ inline uint64_t row_key(uint32_t bits, int64_t column) {
  return uint64_t{bits} << 32 | static_cast<uint32_t>(column);
}
__device__ inline uint32_t key_bits(uint64_t key) { return static_cast<uint32_t>(key >> 32); }
__device__ inline int32_t key_column(uint64_t key) { return static_cast<int32_t>(key & 0xFFFFFFFFu); }
__device__ inline float key_value(uint64_t key) { return rising_value(key_bits(key)); }

// Keys that a thread holds in registers, and so strides that one pass through shared memory serves: 8 keys, 3 strides.
// A pass costs 16 bytes a key, 128 bytes a clock: 8192 keys take 33 passes, 34,000 clocks.
inline constexpr int kSortRun = 8;
inline constexpr int kLargestSort = 8192;  // keys: 68 KB of the 99 KB that every device gives a block

// Where element i of an array lies in shared memory: one place after every 128 bytes stays free, so that threads which
// each read a run of 8 elements meet in no bank.
template <class T>
DUET_HOST_DEVICE constexpr int64_t spread(int64_t i) {
  return i + i / static_cast<int64_t>(128 / sizeof(T));
}

DUET_HOST_DEVICE constexpr int sort_size(int64_t count) {
  int size = kSortRun;
  while (size < count) size *= 2;
  return size;
}

// Threads of a block that sorts rows of count: a run each, at least two warps for what else there is to do.
constexpr int sort_threads(int64_t count) {
  const int runs = sort_size(count) / kSortRun;
  return runs < 64 ? 64 : runs > 1024 ? 1024 : runs;
}

namespace sorting {

__device__ inline void order(uint64_t& low, uint64_t& high, bool rising) {
  const uint64_t a = low, b = high;
  const bool swap = (a > b) == rising;
  low = swap ? b : a;
  high = swap ? a : b;
}

// The strides stride * 2^(kLevels - 1), ..., stride of the phase that makes sorted runs of `phase` keys, by turns
// rising and falling.
template <int kLevels>
__device__ inline void merge(uint64_t* keys, int size, int phase, int stride) {
  constexpr int kRun = 1 << kLevels;
  for (int group = static_cast<int>(threadIdx.x); group < size >> kLevels; group += static_cast<int>(blockDim.x)) {
    const int inner = group & (stride - 1), base = ((group - inner) << kLevels) + inner;
    const bool rising = (base & phase) == 0;
    uint64_t run[kRun];
    DUET_UNROLL for (int e = 0; e < kRun; ++e) run[e] = keys[spread<uint64_t>(base + e * stride)];
    DUET_UNROLL for (int level = kLevels - 1; level >= 0; --level) {
      DUET_UNROLL for (int e = 0; e < kRun; ++e) if ((e & 1 << level) == 0) order(run[e], run[e | 1 << level], rising);
    }
    DUET_UNROLL for (int e = 0; e < kRun; ++e) keys[spread<uint64_t>(base + e * stride)] = run[e];
  }
  __syncthreads();
}

// The phases 2, 4 and 8 of every run.
__device__ inline void sort_runs(uint64_t* keys, int size) {
  for (int group = static_cast<int>(threadIdx.x); group < size / kSortRun; group += static_cast<int>(blockDim.x)) {
    uint64_t run[kSortRun];
    DUET_UNROLL for (int e = 0; e < kSortRun; ++e) run[e] = keys[spread<uint64_t>(group * kSortRun + e)];
    DUET_UNROLL for (int phase = 2; phase <= kSortRun; phase *= 2) {
      DUET_UNROLL for (int stride = phase / 2; stride > 0; stride /= 2) {
        DUET_UNROLL for (int e = 0; e < kSortRun; ++e) if ((e & stride) == 0)
            order(run[e], run[e | stride], phase < kSortRun ? (e & phase) == 0 : group % 2 == 0);
      }
    }
    DUET_UNROLL for (int e = 0; e < kSortRun; ++e) keys[spread<uint64_t>(group * kSortRun + e)] = run[e];
  }
  __syncthreads();
}

}  // namespace sorting

// Sorts keys[spread(0 .. size)], rising; size = sort_size(...). For whole blocks, after a barrier behind the keys'
// writes; ends with one.
__device__ inline void sort_block(uint64_t* keys, int size) {
  sorting::sort_runs(keys, size);
  for (int phase = 2 * kSortRun; phase <= size; phase *= 2) {
    int stride = phase;  // done so far
    const int levels = 31 - __clz(phase);
    if (levels % 3 == 1) sorting::merge<1>(keys, size, phase, stride /= 2);
    if (levels % 3 == 2) sorting::merge<2>(keys, size, phase, stride /= 4);
    while (stride > 1) sorting::merge<3>(keys, size, phase, stride /= 8);
  }
}

// Sorted keys of a row, in shared memory after sort_block or in global memory after sort_rows.
template <bool kShared>
struct SortedRow {
  const uint64_t* keys;
  int64_t count;

  __device__ uint64_t operator[](int64_t k) const { return keys[kShared ? spread<uint64_t>(k) : k]; }
  // The first place from `from` on whose bits are at least these; count where there is none.
  __device__ int64_t first_from(int64_t from, uint32_t bits) const {
    int64_t low = from, high = count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (key_bits((*this)[middle]) < bits)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

}  // namespace duet::cuda
