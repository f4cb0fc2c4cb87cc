// What a kernel must not do, done: each is reported with kernel, file and line, and the way to repeat it.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "kernels/cuda/ptx.h"
#include "tests/simt/schedules.h"

namespace duet::simt {
namespace {

namespace ptx = cuda::ptx;

struct Words {
  alignas(16) int words[1024] = {};
};

std::string text_of(const std::function<void()>& launch, duet_status status = DUET_STATUS_CUDA_ERROR) {
  try {
    launch();
  } catch (const Error& error) {
    CHECK(error.status() == status);
    return error.what();
  }
  return "nothing was reported";
}
bool holds(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

__global__ void divergent_barrier(int* out) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}
__global__ void barrier_that_some_miss(int* out) {
  if (threadIdx.x < 32) __syncthreads();
  if (threadIdx.x >= 32) __shfl_sync(threadIdx.x == 40 ? 0x100u : ~0x100u, 1, 0);
  if (threadIdx.x >= 32)
    while (atomicAdd(out, 0) == 0) continue;
}
__global__ void divergent_warp(int* out) {
  int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x & 1)
    value = __shfl_xor_sync(0xffffffffu, value, 2);
  else
    value = static_cast<int>(__ballot_sync(0xffffffffu, value));
  out[threadIdx.x] = value;
}
__global__ void masks_that_differ(int* out) {
  out[threadIdx.x] = __shfl_xor_sync(threadIdx.x < 16 ? 0xffffffffu : 0xfffffffeu, static_cast<int>(threadIdx.x), 1);
}
__global__ void mask_without_the_caller(int* out) { out[threadIdx.x] = __any_sync(0x0000ffffu, 1); }
__global__ void mask_of_lanes_elsewhere(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_up_sync(0xffffffffu, 1, 1);
  __syncthreads();
}
__global__ void mma_without_some_lanes(float* out) {
  const unsigned a[4] = {}, b[2] = {};
  float d[4] = {};
  if (threadIdx.x == 5) return;
  ptx::mma_m16n8k16_bf16(d, a, b, d);
  out[0] = d[0];
}
__global__ void polling_forever(int* out) {
  if (threadIdx.x == 0)
    while (atomicAdd(out, 0) == 0) continue;
}
__global__ void copy_never_waited_for(const int* in) {
  DUET_SHARED(int, tile, [128]);
  ptx::cp_async16(tile + threadIdx.x * 4, in + threadIdx.x * 4);
  ptx::cp_async_commit();
}
__global__ void misaligned_copy(const int* in) {
  DUET_SHARED(int, tile, [128]);
  ptx::cp_async16(tile, in + 1);
}
__global__ void copy_to_global_memory(const int* in, int* out) { ptx::cp_async16(out, in); }
__global__ void misaligned_row(unsigned* out) {
  DUET_SHARED(unsigned, tile, [256]);
  unsigned r[4];
  ptx::ldmatrix_x4(r, tile + threadIdx.x * 2);
  out[0] = r[0];
}
__global__ void misaligned_load(const int* in, uint4* out) { *out = __ldg(reinterpret_cast<const uint4*>(in + 1)); }
__global__ void too_much_shared(int* out) {
  DUET_SHARED(int, tile, [12 * 1024]);
  DUET_SHARED_DYNAMIC(int, more);
  out[0] = tile[0] + more[0];
}
__global__ void too_much_static(int* out) {
  DUET_SHARED(int, tile, [12 * 1024 + 1]);
  out[0] = tile[0];
}
__global__ void dynamic_without(int* out) {
  DUET_SHARED_DYNAMIC(int, tile);
  out[0] = tile[0];
}
__global__ void never_written(float* out) {
  DUET_SHARED(float, tile, [64]);
  DUET_SHARED_DYNAMIC(float, more);
  if (threadIdx.x < 32) tile[threadIdx.x] = more[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x] * more[threadIdx.x];
}

// Right, though unusual.
__global__ void early_return(int* out) {
  if (threadIdx.x >= 40) return;
  __syncthreads();
  out[threadIdx.x] = static_cast<int>(__ballot_sync(0xffffffffu, 1));
}
__global__ void halves_apart(int* out) {
  const unsigned lane = threadIdx.x & 31, mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  int value = static_cast<int>(lane);
  for (int i = 0; i < (lane < 16 ? 1 : 3); ++i) value += __shfl_xor_sync(mask, value, 1);
  value += __shfl_sync(0xffffffffu, value, 31);
  out[threadIdx.x] = value;
}
__global__ void nothing(int) {}

}  // namespace

TEST_CASE("misuse is reported with kernel, file and line, in every schedule") {
  Words memory;
  int* const out = memory.words;
  float* const floats = reinterpret_cast<float*>(memory.words);
  for_each_schedule([&] {
    const auto reported = [&](const std::string& what, auto kernel, dim3 block, auto... arguments) {
      CAPTURE(what);
      memory = Words{};
      const std::string text = text_of([&] { cuda::launch(kernel, "the_kernel", 1, block, 0, nullptr)(arguments...); });
      holds(text, what);
      holds(text, "the_kernel, block (0, 0, 0), thread (");
      holds(text, "misuse_test.cpp:");
      holds(text, "repeat with: DUET_SIMT_ORDER=");
    };
    reported("divergent barrier", divergent_barrier, 64, out);
    reported("deadlock", barrier_that_some_miss, 64, out);
    reported("divergent warp", divergent_warp, 64, out);
    reported("masks differ", masks_that_differ, 32, out);
    reported("does not name the calling lane", mask_without_the_caller, 64, out);
    reported("deadlock", mask_of_lanes_elsewhere, 64, out);
    reported("lanes are missing", mma_without_some_lanes, 32, floats);
    reported("a copy that it has not waited for", copy_never_waited_for, 32, out);
    reported("a polling loop", polling_forever, 32, out);
    reported("not a multiple of 16", misaligned_copy, 32, out);
    reported("not in the block's shared memory", copy_to_global_memory, 32, out, out + 64);
    reported("not a multiple of 16", misaligned_row, 32, reinterpret_cast<unsigned*>(out));
    reported("not a multiple of 16", misaligned_load, 1, out, reinterpret_cast<uint4*>(out));
  });
}

TEST_CASE("misuse without a line of its own is reported with the kernel") {
  Words memory;
  int* const out = memory.words;
  holds(text_of([&] {
          DUET_LAUNCH(too_much_shared, 1, 32, 180 * 1024, nullptr)
          (out);
        }),
        "bytes of shared memory, at most 232448");
  holds(text_of([&] { DUET_LAUNCH(too_much_static, 1, 32, 0, nullptr)(out); }), "49156 bytes of static shared memory");
  holds(text_of([&] { DUET_LAUNCH(dynamic_without, 1, 32, 0, nullptr)(out); }), "the launch gave none");
  holds(text_of([&] {
          DUET_LAUNCH(dynamic_without, 1, 32, 227 * 1024 + 1, nullptr)
          (out);
        }),
        "dynamic_without: 232449 bytes");
  holds(text_of([&] { DUET_LAUNCH(nothing, 1, 1025, 0, nullptr)(1); }), "a block of 1025 x 1 x 1 threads");
  holds(text_of([&] { DUET_LAUNCH(nothing, dim3(1, 65536), 1, 0, nullptr)(1); }), "a grid of 1 x 65536 x 1 blocks");
  holds(text_of(
            [&] {
              DUET_LAUNCH(nothing, int64_t{1} << 31, 1, 0, nullptr)
              (1);
            },
            DUET_STATUS_UNSUPPORTED),
        "a grid of 2147483648 blocks");
  DUET_LAUNCH(nothing, 0, 32, 0, nullptr)(1);
  DUET_LAUNCH(nothing, 1, 32, 227 * 1024, nullptr)(1);
}

TEST_CASE("shared memory that was never written is NaN or 3.4e38, changing from launch to launch") {
  float out[64] = {};
  int huge = 0, nan = 0;
  for (int launch = 0; launch < 8; ++launch) {
    DUET_LAUNCH(never_written, 1, 64, 64 * sizeof(float), nullptr)(out);
    CHECK(out[31] == 1);
    nan += std::isnan(out[32]);
    huge += out[63] > 3e38f;
  }
  CHECK(nan >= 3);
  CHECK(huge >= 3);
  CHECK(nan + huge == 8);
}

TEST_CASE("what is unusual but right passes in every schedule") {
  for_each_schedule([] {
    Words memory;
    DUET_LAUNCH(early_return, 1, 64, 0, nullptr)(memory.words);
    CHECK(memory.words[0] == -1);
    CHECK(memory.words[39] == 0xff);
    CHECK(memory.words[40] == 0);
    DUET_LAUNCH(halves_apart, 1, 64, 0, nullptr)(memory.words);
    // Lanes 16 and up sum pairs three times over, so lane 31 holds 4 (30 + 31); lane 1 holds 0 + 1.
    CHECK(memory.words[33] == 1 + 4 * 61);
  });
}

}  // namespace duet::simt
