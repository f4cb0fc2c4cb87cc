// Checks of values that lie in the context's memory: an index, a label, a ratio. Each backend looks in its own.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {

// "indices[3]: expected 0 to 19, got 40".
std::string fault_text(const duet_fault& fault);

// What the values of an argument may be. name: a text that is never released, as literals are.
template <class T>
struct Range {
  const char* name;
  T low, high;
  bool is_scalar = false;  // a vector of size 1, which is named without its position

  DUET_HOST_DEVICE bool holds(T value) const { return value >= low && value <= high; }  // NaN: no
};

// The first of values that the range does not hold, or a fault without an argument. T: int32_t, int64_t, float.
namespace cpu {
template <class T>
duet_fault first_outside(Vector<const T> values, const Range<T>& range);
}
namespace cuda {
// Waits for the stream; but where the context notes faults, a kernel does that and nothing is found now. While the
// stream of another context is captured nothing can be looked at: then nothing is found either, and kernels must keep
// to their memory whatever the values are.
template <class T>
duet_fault first_outside(const duet_context& context, Vector<const T> values, const Range<T>& range);
}  // namespace cuda

// Throws, naming the first value, unless the range holds every one.
template <class T>
void check_within(const duet_context* context, Vector<const T> values, const Range<T>& range) {
  const duet_fault found = dispatch(
      context, [&] { return cpu::first_outside(values, range); },
      [&] { return cuda::first_outside(*context, values, range); });
  if (found.argument) throw Error(DUET_STATUS_INVALID_ARGUMENT, fault_text(found));
}

}  // namespace duet
