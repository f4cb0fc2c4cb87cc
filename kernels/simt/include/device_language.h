// What cuda/launch.h builds on, for the emulator.
#pragma once

#include <cstddef>
#include <tuple>

#include "kernels/simt/language.h"

#define DUET_SHARED(type, name, ...)                            \
  using duet_shared_##name = type __VA_ARGS__;                  \
  static const char duet_shared_tag_##name = 0;                 \
  duet_shared_##name& name = *static_cast<duet_shared_##name*>( \
      ::duet::simt::shared_array(&duet_shared_tag_##name, sizeof(duet_shared_##name)))
#define DUET_SHARED_DYNAMIC(type, name) type* const name = static_cast<type*>(::duet::simt::shared_dynamic())
#define DUET_UNROLL
#define DUET_NO_UNROLL

namespace duet::cuda {

template <class Kernel, class Arguments>
void start_kernel(Kernel* kernel, const char* name, dim3 grid, dim3 block, size_t shared_bytes, void* stream,
                  const Arguments& arguments) {
  simt::launch(name, grid, block, shared_bytes, stream, [kernel, arguments] { std::apply(kernel, arguments); });
}

}  // namespace duet::cuda
