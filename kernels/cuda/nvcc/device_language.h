// What cuda/launch.h builds on, for nvcc.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>
#include <utility>

#include "kernels/core/error.h"

#define DUET_SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__
#define DUET_SHARED_DYNAMIC(type, name)                                        \
  extern __shared__ __align__(128) unsigned char duet_dynamic_shared_memory[]; \
  type* const name = reinterpret_cast<type*>(duet_dynamic_shared_memory)
#define DUET_UNROLL _Pragma("unroll")
#define DUET_NO_UNROLL _Pragma("unroll 1")

namespace duet::cuda {

// Puts a kernel on the stream; a launch that fails throws Error(DUET_STATUS_CUDA_ERROR).
template <class Kernel, class Arguments>
void start_kernel(Kernel* kernel, const char* name, dim3 grid, dim3 block, size_t shared_bytes, void* stream,
                  Arguments arguments) {
  const auto check = [&](cudaError_t status) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // taken: the next call shall not report it again
    throw Error(DUET_STATUS_CUDA_ERROR,
                text("launch of ", name, " on ", grid.x, " x ", grid.y, " x ", grid.z, " blocks of ", block.x, " x ",
                     block.y, " x ", block.z, " threads with ", shared_bytes,
                     " bytes of dynamic shared memory: ", cudaGetErrorString(status)));
  };
  const void* function = reinterpret_cast<const void*>(kernel);
  // More than 48 KiB of dynamic shared memory is given to a kernel that asks for it.
  if (shared_bytes > 48 * 1024)
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  std::apply(
      [&](auto&... each) {
        void* pointers[] = {static_cast<void*>(&each)..., nullptr};
        check(cudaLaunchKernel(function, grid, block, pointers, shared_bytes, static_cast<cudaStream_t>(stream)));
      },
      arguments);
}

}  // namespace duet::cuda
