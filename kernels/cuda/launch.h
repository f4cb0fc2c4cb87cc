// The only way to start a kernel, and the few macros in which our kernels are written: the same source for nvcc and, on
// the emulator, for a C++ compiler.
//   DUET_LAUNCH(kernel, grid, block, dynamic_shared_bytes, stream)(arguments...);
//   DUET_LAUNCH((kernel<1, 2>), ...)(...)
//   DUET_SHARED(float, tile, [16][17]);
//   DUET_SHARED_DYNAMIC(float, buffer);
//   DUET_UNROLL for (...)
//   DUET_NO_UNROLL for (...)
// A grid of 0 is no launch; one past 2^31 - 1 blocks throws Error(DUET_STATUS_UNSUPPORTED), a launch that fails
// Error(DUET_STATUS_CUDA_ERROR).
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "kernels/core/error.h"

// CUDA C++ and the macros below, from the include folder of nvcc (cuda/nvcc) or of the emulator (simt/include).
#include "device_language.h"

namespace duet::cuda {

// A grid or block given as a number: refused where a dimension of the hardware cannot hold it, that is for more rows
// than a device has memory for.
inline dim3 extent(const dim3& threads) { return threads; }
template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
dim3 extent(Integer count) {
  if (count < 0 || static_cast<uint64_t>(count) > 0x7fffffffu)
    throw Error(DUET_STATUS_UNSUPPORTED, text("launch: a grid of ", count, " blocks, at most 2^31 - 1"));
  return dim3(static_cast<unsigned>(count));
}

template <class... Parameters>
struct Launch {
  void (*kernel)(Parameters...);
  const char* name;
  dim3 grid, block;
  size_t shared_bytes;
  void* stream;

  void operator()(std::type_identity_t<Parameters>... arguments) const {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    start_kernel(kernel, name, grid, block, shared_bytes, stream,
                 std::tuple<std::decay_t<Parameters>...>(arguments...));
  }
};

template <class... Parameters>
Launch<Parameters...> launch(void (*kernel)(Parameters...), const char* name, dim3 grid, dim3 block,
                             size_t shared_bytes, void* stream) {
  return {kernel, name, grid, block, shared_bytes, stream};
}

}  // namespace duet::cuda

#define DUET_LAUNCH(kernel, grid, block, dynamic_shared_bytes, stream)                           \
  ::duet::cuda::launch(kernel, #kernel, ::duet::cuda::extent(grid), ::duet::cuda::extent(block), \
                       static_cast<size_t>(dynamic_shared_bytes), stream)
