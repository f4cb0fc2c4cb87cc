// The only way to start a kernel, and the few macros in which our kernels are written: the same source for nvcc and, on
// the emulator, for a C++ compiler.
//   DUET_LAUNCH(kernel, grid, block, dynamic_shared_bytes, stream)(arguments...);   DUET_LAUNCH((kernel<1, 2>),
//   ...)(...) DUET_SHARED(float, tile, [16][17]);   DUET_SHARED_DYNAMIC(float, buffer);   DUET_UNROLL for (...)
//   DUET_NO_UNROLL for (...)
// A grid of 0 is no launch; one past 2^31 - 1 blocks throws Error(DUET_STATUS_UNSUPPORTED), a launch that fails
// Error(DUET_STATUS_CUDA_ERROR).
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "kernels/core/error.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "kernels/simt/language.h"
#endif

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
#ifdef __CUDACC__
    const void* function = reinterpret_cast<const void*>(kernel);
    // More than 48 KiB of dynamic shared memory is given to a kernel that asks for it.
    if (shared_bytes > 48 * 1024)
      check(
          cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
    void* pointers[] = {static_cast<void*>(&arguments)..., nullptr};
    check(cudaLaunchKernel(function, grid, block, pointers, shared_bytes, static_cast<cudaStream_t>(stream)));
#else
    const std::tuple<std::decay_t<Parameters>...> values(arguments...);
    simt::launch(name, grid, block, shared_bytes, stream, [kernel = kernel, values] { std::apply(kernel, values); });
#endif
  }

#ifdef __CUDACC__
 private:
  void check(cudaError_t status) const {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // taken: the next call shall not report it again
    throw Error(DUET_STATUS_CUDA_ERROR,
                text("launch of ", name, " on ", grid.x, " x ", grid.y, " x ", grid.z, " blocks of ", block.x, " x ",
                     block.y, " x ", block.z, " threads with ", shared_bytes,
                     " bytes of dynamic shared memory: ", cudaGetErrorString(status)));
  }
#endif
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

#ifdef __CUDACC__
#define DUET_SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__
#define DUET_SHARED_DYNAMIC(type, name)                                        \
  extern __shared__ __align__(128) unsigned char duet_dynamic_shared_memory[]; \
  type* const name = reinterpret_cast<type*>(duet_dynamic_shared_memory)
#define DUET_UNROLL _Pragma("unroll")
#define DUET_NO_UNROLL _Pragma("unroll 1")
#else
#define DUET_SHARED(type, name, ...)                            \
  using duet_shared_##name = type __VA_ARGS__;                  \
  static const char duet_shared_tag_##name = 0;                 \
  duet_shared_##name& name = *static_cast<duet_shared_##name*>( \
      ::duet::simt::shared_array(&duet_shared_tag_##name, sizeof(duet_shared_##name)))
#define DUET_SHARED_DYNAMIC(type, name) type* const name = static_cast<type*>(::duet::simt::shared_dynamic())
#define DUET_UNROLL
#define DUET_NO_UNROLL
#endif
