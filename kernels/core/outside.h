// Checks of values that lie in the context's memory: an index, a label, a ratio. Each backend looks in its own; <operation>.cpp has the words.
#pragma once

#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {

template <class T>
struct Outside {
  int64_t position = -1;  // -1: none
  T value{};

  explicit operator bool() const { return position >= 0; }
};

namespace cpu {
template <class T>
Outside<T> first_outside(Vector<const T> values, T low, T high);
}
namespace cuda {
// Waits for the stream. While it is captured nothing can be looked at or reported: then none is found, and kernels must keep to their memory
// whatever the values are.
template <class T>
Outside<T> first_outside(const duet_context& context, Vector<const T> values, T low, T high);
}  // namespace cuda

// The first of values that is not in low ... high; NaN is not. T: int32_t, int64_t, float.
template <class T>
Outside<T> first_outside(const duet_context* context, Vector<const T> values, T low, T high) {
  return dispatch(
      context, [&] { return cpu::first_outside(values, low, high); }, [&] { return cuda::first_outside(*context, values, low, high); });
}

}  // namespace duet
