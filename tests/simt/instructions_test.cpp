// The language's warp intrinsics, votes, atomics, bits and the reductions of warp.h against plain loops, in every schedule.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/warp.h"
#include "tests/simt/schedules.h"

namespace duet::simt {
namespace {

__global__ void shuffles(const int* x, int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = __shfl_sync(0xffffffffu, x[lane], lane * 7);
  out[32 + lane] = __shfl_xor_sync(0xffffffffu, x[lane], 5);
  out[64 + lane] = __shfl_down_sync(0xffffffffu, x[lane], 3);
  out[96 + lane] = __shfl_up_sync(0xffffffffu, x[lane], 4);
  out[128 + lane] = __shfl_sync(0xffffffffu, x[lane], 3, 8);
  out[160 + lane] = __shfl_down_sync(0xffffffffu, x[lane], 3, 8);
  out[192 + lane] = __shfl_up_sync(0xffffffffu, x[lane], 3, 8);
  out[224 + lane] = static_cast<int>(__shfl_xor_sync(0xffffffffu, static_cast<double>(x[lane]), 16));
}
__global__ void votes(const int* x, int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = x[lane];
  int* const mine = out + lane * 12;
  mine[0] = static_cast<int>(__ballot_sync(0xffffffffu, value > 0));
  mine[1] = __any_sync(0xffffffffu, value > 90);
  mine[2] = __all_sync(0xffffffffu, value > -1000);
  mine[3] = __reduce_add_sync(0xffffffffu, value);
  mine[4] = __reduce_min_sync(0xffffffffu, value);
  mine[5] = __reduce_max_sync(0xffffffffu, value);
  mine[6] = static_cast<int>(__reduce_and_sync(0xffffffffu, static_cast<unsigned>(value)));
  mine[7] = static_cast<int>(__reduce_or_sync(0xffffffffu, static_cast<unsigned>(value)));
  mine[8] = static_cast<int>(__reduce_xor_sync(0xffffffffu, static_cast<unsigned>(value)));
  mine[9] = __syncthreads_count(value > 0);
  mine[10] = __syncthreads_or(value == x[7]);
  mine[11] = __syncthreads_and(value == x[7]);
}
__global__ void atomics(int* counters, unsigned long long* sum) {
  const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(counters, 1);
  atomicSub(counters + 1, 2);
  atomicMax(counters + 2, thread);
  atomicMin(counters + 3, -thread);
  atomicOr(counters + 4, 1 << thread % 31);
  atomicAdd(sum, static_cast<unsigned long long>(thread));
  if (atomicCAS(counters + 5, 0, thread + 1) == 0) atomicExch(counters + 6, thread + 1);
}
// A ticket an item; an item's turn comes when the one before it is done.
__global__ void tickets(unsigned* next, unsigned* done, float* sum) {
  DUET_SHARED(unsigned, item, [1]);
  if (threadIdx.x == 0) item[0] = atomicAdd(next, 1u);
  __syncthreads();
  if (threadIdx.x != 0) return;
  while (atomicAdd(done, 0u) != item[0]) __nanosleep(20);
  __threadfence();
  *sum = *sum * 0.5f + static_cast<float>(item[0]);
  __threadfence();
  atomicExch(done, item[0] + 1);
}
constexpr int kFigures = 8;  // of a thread
__global__ void reductions(const float* x, float* out) {
  const int thread = cuda::thread_of_block();
  const float value = x[thread];
  float* const mine = out + thread * kFigures;
  mine[0] = cuda::warp_sum(value);
  mine[1] = cuda::warp_max(value);
  mine[2] = cuda::warp_min(value);
  mine[3] = cuda::block_sum(value);
  mine[4] = cuda::block_max(value);
  mine[5] = cuda::block_min(value);
  mine[6] = cuda::warp_sum<4>(value);
  mine[7] = static_cast<float>(cuda::block_sum(static_cast<int64_t>(thread)));
}

constexpr int kBlock = 96;
using Values = std::vector<float>;

bool same(float a, double b, double tolerance) { return (std::isnan(a) && std::isnan(b)) || a == b || std::fabs(a - b) <= tolerance; }

void check_reductions(const Values& x) {
  Values out(kBlock * kFigures, NAN);
  DUET_LAUNCH(reductions, 1, dim3(8, 12), 0, nullptr)(x.data(), out.data());
  for (int thread = 0; thread < kBlock; ++thread) {
    const float* const mine = &out[static_cast<size_t>(thread) * kFigures];
    const auto check = [&](const float* got, int first, int last) {
      double sum = 0, max = -INFINITY, min = INFINITY;
      bool nan = false;
      for (int i = first; i < last; ++i) {
        const double value = x[static_cast<size_t>(i)];
        sum += value;
        max = std::max(max, value);
        min = std::min(min, value);
        nan = nan || std::isnan(value);
      }
      CHECK(same(got[0], sum, 1e-4));
      CHECK(same(got[1], nan ? NAN : max, 0));
      CHECK(same(got[2], nan ? NAN : min, 0));
    };
    check(mine, thread / 32 * 32, thread / 32 * 32 + 32);
    check(mine + 3, 0, kBlock);
    double of_four = 0;
    for (int i = thread / 4 * 4; i < thread / 4 * 4 + 4; ++i) of_four += x[static_cast<size_t>(i)];
    CHECK(same(mine[6], of_four, 1e-5));
    CHECK(mine[7] == kBlock * (kBlock - 1) / 2);
    CHECK(std::equal(mine + 3, mine + 6, out.begin() + 3, [](float a, float b) { return __float_as_uint(a) == __float_as_uint(b); }));
  }
}

}  // namespace

TEST_CASE("shuffles, votes and warp reductions do what a loop over the lanes does") {
  std::vector<int> x(32);
  for (int i = 0; i < 32; ++i) x[static_cast<size_t>(i)] = (i * 37) % 64 - 20;
  for_each_schedule([&] {
    std::vector<int> out(32 * 12, -1);
    DUET_LAUNCH(shuffles, 1, 32, 0, nullptr)(x.data(), out.data());
    for (size_t lane = 0; lane < 32; ++lane) {
      CHECK(out[lane] == x[lane * 7 % 32]);
      CHECK(out[32 + lane] == x[lane ^ 5]);
      CHECK(out[64 + lane] == x[lane + 3 < 32 ? lane + 3 : lane]);
      CHECK(out[96 + lane] == x[lane >= 4 ? lane - 4 : lane]);
      CHECK(out[128 + lane] == x[lane / 8 * 8 + 3]);
      CHECK(out[160 + lane] == x[lane % 8 + 3 < 8 ? lane + 3 : lane]);
      CHECK(out[192 + lane] == x[lane % 8 >= 3 ? lane - 3 : lane]);
      CHECK(out[224 + lane] == x[lane ^ 16]);
    }
    DUET_LAUNCH(votes, 1, 32, 0, nullptr)(x.data(), out.data());
    unsigned ballot = 0, all = ~0u, any = 0, odd = 0;
    int sum = 0;
    for (size_t i = 0; i < 32; ++i) {
      const unsigned bits = static_cast<unsigned>(x[i]);
      ballot |= static_cast<unsigned>(x[i] > 0) << i;
      sum += x[i];
      all &= bits;
      any |= bits;
      odd ^= bits;
    }
    const int positive = __popc(ballot);
    const std::vector<int> expected = {static_cast<int>(ballot),
                                       0,
                                       1,
                                       sum,
                                       *std::min_element(x.begin(), x.end()),
                                       *std::max_element(x.begin(), x.end()),
                                       static_cast<int>(all),
                                       static_cast<int>(any),
                                       static_cast<int>(odd),
                                       positive,
                                       1,
                                       0};
    for (long lane = 0; lane < 32; ++lane) CHECK(std::equal(expected.begin(), expected.end(), out.begin() + lane * 12));
  });
}

TEST_CASE("atomics and tickets come out whole, blocks in any order") {
  for_each_schedule([] {
    std::vector<int> counters(7);
    unsigned long long sum = 0;
    DUET_LAUNCH(atomics, 5, 40, 0, nullptr)(counters.data(), &sum);
    CHECK(counters[0] == 200);
    CHECK(counters[1] == -400);
    CHECK(counters[2] == 199);
    CHECK(counters[3] == -199);
    CHECK(counters[4] == 0x7fffffff);
    CHECK(counters[5] > 0);
    CHECK(counters[6] == counters[5]);
    CHECK(sum == 199 * 200 / 2);

    unsigned next = 0, done = 0;
    float in_order = 0, expected = 0;
    DUET_LAUNCH(tickets, 9, 64, 0, nullptr)(&next, &done, &in_order);
    for (int i = 0; i < 9; ++i) expected = expected * 0.5f + static_cast<float>(i);
    CHECK(in_order == expected);
  });
}

TEST_CASE("warp.h: sums, maxima that keep NaN, the same bits in every thread") {
  for_each_schedule([] {
    Values x(kBlock);
    for (int i = 0; i < kBlock; ++i) x[static_cast<size_t>(i)] = static_cast<float>((i * 29) % 17) - 8;  // full of ties
    check_reductions(x);
    x[40] = NAN;
    check_reductions(x);
    std::fill(x.begin(), x.end(), -INFINITY);
    x[3] = x[70] = 2;
    check_reductions(x);
    for (size_t i = 0; i < x.size(); ++i) x[i] = i % 2 ? 0.0f : -0.0f;
    check_reductions(x);
  });
}

TEST_CASE("bits") {
  CHECK(__brev(1u) == 0x80000000u);
  CHECK(__brev(0x12345678u) == 0x1e6a2c48u);
  CHECK(__clz(0) == 32);
  CHECK(__clz(1) == 31);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__umulhi(0xffffffffu, 0xffffffffu) == 0xfffffffeu);
  CHECK(__umul64hi(~0ull, ~0ull) == ~0ull - 1);
  CHECK(__saturatef(NAN) == 0);
}

}  // namespace duet::simt
