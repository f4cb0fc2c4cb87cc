// The language's warp intrinsics, votes, atomics, bits and the reductions of warp.h against plain loops, in every
// schedule.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
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
  out[64 + lane] = __shfl_up_sync(0xffffffffu, x[lane], 4);
  out[96 + lane] = static_cast<int>(__shfl_xor_sync(0xffffffffu, static_cast<double>(x[lane]), 16));
}
__global__ void votes(const int* x, int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = x[lane];
  int* const mine = out + lane * 5;
  mine[0] = static_cast<int>(__ballot_sync(0xffffffffu, value > 0));
  mine[1] = __any_sync(0xffffffffu, value > 90);
  mine[2] = __syncthreads_count(value > 0);
  mine[3] = __syncthreads_or(value == x[7]);
  mine[4] = __syncthreads_or(value > 90);
}
__global__ void atomics(int* counters, unsigned long long* sum) {
  const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(counters, 1);
  atomicMax(counters + 1, thread);
  atomicMin(counters + 2, -thread);
  atomicOr(counters + 3, 1 << thread % 31);
  atomicAdd(sum, static_cast<unsigned long long>(thread));
}
// A ticket an item; an item's turn comes when the one before it is done.
__global__ void tickets(unsigned* next, unsigned* done, float* sum) {
  DUET_SHARED(unsigned, item, [1]);
  if (threadIdx.x == 0) item[0] = atomicAdd(next, 1u);
  __syncthreads();
  if (threadIdx.x != 0) return;
  while (atomicAdd(done, 0u) != item[0]) continue;
  __threadfence();
  *sum = *sum * 0.5f + static_cast<float>(item[0]);
  __threadfence();
  atomicAdd(done, 1u);
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

bool same(float a, double b, double tolerance) {
  return (std::isnan(a) && std::isnan(b)) || a == b || std::fabs(a - b) <= tolerance;
}

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
    CHECK(std::equal(mine + 3, mine + 6, out.begin() + 3,
                     [](float a, float b) { return __float_as_uint(a) == __float_as_uint(b); }));
  }
}

}  // namespace

TEST_CASE("shuffles, votes and warp reductions do what a loop over the lanes does") {
  std::vector<int> x(32);
  for (int i = 0; i < 32; ++i) x[static_cast<size_t>(i)] = (i * 37) % 64 - 20;
  for_each_schedule([&] {
    std::vector<int> out(32 * 5, -1);
    DUET_LAUNCH(shuffles, 1, 32, 0, nullptr)(x.data(), out.data());
    for (size_t lane = 0; lane < 32; ++lane) {
      CHECK(out[lane] == x[lane * 7 % 32]);
      CHECK(out[32 + lane] == x[lane ^ 5]);
      CHECK(out[64 + lane] == x[lane >= 4 ? lane - 4 : lane]);
      CHECK(out[96 + lane] == x[lane ^ 16]);
    }
    DUET_LAUNCH(votes, 1, 32, 0, nullptr)(x.data(), out.data());
    unsigned ballot = 0;
    for (size_t i = 0; i < 32; ++i) ballot |= static_cast<unsigned>(x[i] > 0) << i;
    const int expected[] = {static_cast<int>(ballot), 0, std::popcount(ballot), 1, 0};
    for (long lane = 0; lane < 32; ++lane) CHECK(std::equal(expected, expected + 5, out.begin() + lane * 5));
  });
}

TEST_CASE("atomics and tickets come out whole, blocks in any order") {
  for_each_schedule([] {
    std::vector<int> counters(4);
    unsigned long long sum = 0;
    DUET_LAUNCH(atomics, 5, 40, 0, nullptr)(counters.data(), &sum);
    CHECK(counters == std::vector<int>{200, 199, -199, 0x7fffffff});
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
  CHECK(__clz(0) == 32);
  CHECK(__clz(1) == 31);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
}

}  // namespace duet::simt
