// Values out of range, looked for inside a kernel, and the first of them noted (core/outside.h).
#pragma once

#include "kernels/core/outside.h"
#include "kernels/cuda/warp.h"

namespace duet::cuda {

// The first of values that the range does not hold, looked for by all threads of the block, which lie in a row;
// values.size where it holds all.
template <class T>
__device__ int64_t first_outside_of_block(Vector<const T> values, const Range<T>& range) {
  int64_t first = values.size;
  for (int64_t i = threadIdx.x; i < values.size && first == values.size; i += blockDim.x)
    if (!range.holds(values[i])) first = i;
  return block_min(first);
}

// By one thread.
template <class T>
__device__ void write_fault(duet_fault* fault, const Range<T>& range, T value, int64_t position) {
  fault->position = range.is_scalar ? -1 : position;
  fault->value = static_cast<double>(value);
  fault->low = static_cast<double>(range.low);
  fault->high = static_cast<double>(range.high);
  fault->argument = range.name;
}

// What a kernel does that looks at its values itself, all threads of one block together: the first fault stays.
template <class T>
__device__ void note_outside(duet_fault* faults, Vector<const T> values, const Range<T>& range) {
  const int64_t first = first_outside_of_block(values, range);
  if (threadIdx.x == 0 && first < values.size && faults->argument == nullptr)
    write_fault(faults, range, values[first], first);
}

}  // namespace duet::cuda
