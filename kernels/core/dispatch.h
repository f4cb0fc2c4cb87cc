// What a context is inside, and the choice of the backend: the last step of every operation after its checks.
#pragma once

#include "kernels/core/context.h"
#include "kernels/core/error.h"

struct duet_context {
  duet_device device = DUET_CPU;
  int32_t device_index = 0;
  int32_t threads = 1;
  duet_precision precision = DUET_PRECISION_FP32;
  void* stream = nullptr;
};

namespace duet {

template <class Cpu>
auto dispatch(const duet_context* context, Cpu&& cpu) {
  require(context != nullptr, "context: null");
  if (context->device != DUET_CPU) throw Error(DUET_UNSUPPORTED, "this build has no backend for the context's device");
  return cpu();
}

}  // namespace duet
