// Looks for a value out of range in device memory and waits for the answer, so that the call can report it. While the stream is captured nothing can
// be reported: then nothing is looked for, and kernels must keep to their memory whatever the values are.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/core/outside.h"

namespace duet::cuda {

// The first of values outside [low, high).
Outside first_outside(const duet_context& context, Vector<const int64_t> values, int64_t low, int64_t high);
Outside first_outside(const duet_context& context, Vector<const int32_t> values, int64_t low, int64_t high);

}  // namespace duet::cuda
