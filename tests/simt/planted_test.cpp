// Kernels of the kinds we write, each right and with one bug planted. The right one passes in every schedule. Of the
// bugs the checker finds every one in every schedule, with file and line (built with DUET_CHECKED); schedules and
// poison show most, ThreadSanitizer the races inside a block (in a child process, which must fail).
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "kernels/cuda/ptx.h"
#include "kernels/cuda/warp.h"
#include "tests/simt/schedules.h"

namespace duet::simt {
namespace {

namespace ptx = cuda::ptx;

enum class Bug {
  none,
  no_barrier_after_load,
  no_barrier_before_load,
  no_barrier_in_reduction,
  no_barrier_before_scratch_reuse,
  no_barrier_before_buffer_reuse,
  no_barrier_in_warp,
  no_wait,
  copy_onto_copy,
  never_written,
  plain_sum_across_blocks,
  no_fence
};

constexpr int kThreads = 128, kTile = 128, kSteps = 5;

// The sum of x[0 .. kTile kSteps) seen through tiles, each thread reading what others loaded.
template <Bug kBug>
__global__ void __launch_bounds__(kThreads) tiled_sum(const float* __restrict__ x, float* __restrict__ sums) {
  DUET_SHARED(float, tile, [kTile]);
  const int thread = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int step = 0; step < kSteps; ++step) {
    if (kBug != Bug::never_written || thread != 5) tile[thread] = x[step * kTile + thread];
    if (kBug != Bug::no_barrier_after_load) __syncthreads();
    for (int i = 0; i < kTile; ++i) sum += tile[(thread + i) % kTile];
    if (kBug != Bug::no_barrier_before_load) __syncthreads();
  }
  sums[thread] = sum;
}

// As tiled_sum, every warp through a tile of its own.
template <Bug kBug>
__global__ void __launch_bounds__(kThreads) warp_tiled_sum(const float* __restrict__ x, float* __restrict__ sums) {
  DUET_SHARED(float, tiles, [kThreads / 32][kTile]);
  const int thread = static_cast<int>(threadIdx.x);
  float* const tile = tiles[thread / 32];
  float sum = 0;
  for (int step = 0; step < kSteps; ++step) {
    for (int i = thread % 32; i < kTile; i += 32) tile[i] = x[step * kTile + i];
    __syncwarp();
    for (int i = 0; i < kTile; ++i) sum += tile[(thread + i) % kTile];
    if (kBug != Bug::no_barrier_in_warp) __syncwarp();
  }
  sums[thread] = sum;
}

// Two reductions that share their scratch.
template <Bug kBug>
__global__ void __launch_bounds__(kThreads) two_reductions(const float* __restrict__ x, float* __restrict__ sums) {
  DUET_SHARED(float, scratch, [kThreads / 32]);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  float total = 0;
  for (int step = 0; step < kSteps; ++step) {
    const float of_warp = cuda::warp_sum(x[step * kTile + thread]);
    if (thread % 32 == 0) scratch[warp] = of_warp;
    if (kBug != Bug::no_barrier_in_reduction) __syncthreads();
    for (int i = 0; i < kThreads / 32; ++i) total += scratch[i] * static_cast<float>(step + 1);
    if (kBug != Bug::no_barrier_before_scratch_reuse) __syncthreads();
  }
  sums[thread] = total;
}

// As tiled_sum, through two buffers filled by cp.async one step ahead.
template <Bug kBug>
__global__ void __launch_bounds__(kThreads) pipelined_sum(const float* __restrict__ x, float* __restrict__ sums) {
  DUET_SHARED_DYNAMIC(float, buffers);  // 2 x kTile
  const int thread = static_cast<int>(threadIdx.x);
  const auto load = [&](int step) {
    const int copies = step == kSteps ? 0 : kBug == Bug::copy_onto_copy ? 2 : 1;
    for (int copy = 0; thread < kTile / 4 && copy < copies; ++copy)
      ptx::cp_async16(buffers + step % 2 * kTile + thread * 4, x + step * kTile + thread * 4);
    ptx::cp_async_commit();
  };
  float sum = 0;
  load(0);
  for (int step = 0; step < kSteps; ++step) {
    load(step + 1);
    if (kBug != Bug::no_wait) ptx::cp_async_wait<1>();
    __syncthreads();
    const float* const tile = buffers + step % 2 * kTile;
    for (int i = 0; i < kTile; ++i) sum += tile[(thread + i) % kTile];
    if (kBug != Bug::no_barrier_before_buffer_reuse) __syncthreads();
  }
  ptx::cp_async_wait<0>();
  sums[thread] = sum;
}

// How many of x are positive, over two blocks.
constexpr int kCounters = 256;
template <Bug kBug>
__global__ void __launch_bounds__(kCounters) count_positive(const float* __restrict__ x, int* __restrict__ count) {
  const int found = __syncthreads_count(x[blockIdx.x * kCounters + threadIdx.x] > 0);
  if (threadIdx.x != 0) return;
  if (kBug == Bug::plain_sum_across_blocks)
    *count += found;
  else
    atomicAdd(count, found);
}
// The same; the block that comes last adds up what each has left.
template <Bug kBug>
__global__ void __launch_bounds__(kCounters)
    count_by_the_last(const float* __restrict__ x, int* parts, unsigned* done, int* __restrict__ count) {
  const int found = __syncthreads_count(x[blockIdx.x * kCounters + threadIdx.x] > 0);
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = found;
  if (kBug != Bug::no_fence) __threadfence();
  if (atomicAdd(done, 1u) + 1 < gridDim.x) return;
  __threadfence();
  for (unsigned block = 0; block < gridDim.x; ++block) *count += parts[block];
}

std::vector<float> input() {
  std::vector<float> x(kTile * kSteps + 4);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  return x;
}

// Whether the kernel with this bug gives what it should; throws what the emulator reports.
template <class Kernel>
bool sums_right(Kernel kernel, size_t shared_bytes, bool weighted) {
  alignas(16) static float x[kTile * kSteps];
  const std::vector<float> values = input();
  std::copy_n(values.begin(), kTile * kSteps, x);
  float expected = 0;
  for (int i = 0; i < kTile * kSteps; ++i) expected += x[i] * static_cast<float>(weighted ? i / kTile + 1 : 1);
  std::vector<float> sums(kThreads, NAN);
  cuda::launch(kernel, "planted", 1, kThreads, shared_bytes, nullptr)(x, sums.data());
  bool right = true;
  for (const float sum : sums) right = right && std::fabs(sum - expected) < 1e-3f;
  return right;
}
template <Bug kBug>
bool right_tiled() {
  return sums_right(tiled_sum<kBug>, 0, false);
}
template <Bug kBug>
bool right_warp_tiled() {
  return sums_right(warp_tiled_sum<kBug>, 0, false);
}
template <Bug kBug>
bool right_reductions() {
  return sums_right(two_reductions<kBug>, 0, true);
}
template <Bug kBug>
bool right_pipelined() {
  return sums_right(pipelined_sum<kBug>, 2 * kTile * sizeof(float), false);
}
template <Bug kBug>
bool right_count() {
  const std::vector<float> x = input();
  int count = 0, last_count = 0, parts[2] = {}, expected = 0;
  unsigned done = 0;
  for (int i = 0; i < 2 * kCounters; ++i) expected += x[static_cast<size_t>(i)] > 0;
  DUET_LAUNCH(count_positive<kBug>, 2, kCounters, 0, nullptr)(x.data(), &count);
  DUET_LAUNCH(count_by_the_last<kBug>, 2, kCounters, 0, nullptr)(x.data(), parts, &done, &last_count);
  return count == expected && last_count == expected;
}

struct Planted {
  std::string name;
  bool (*broken)();
  bool shown_by_schedules, shown_by_tsan;
  std::string finding;  // of the checker
};
// Blocks run one after another, so sums over them come out right, and ThreadSanitizer takes them for ordered.
const Planted kPlanted[] = {
    {"no barrier after a tile is loaded", right_tiled<Bug::no_barrier_after_load>, true, true, "of shared memory"},
    {"no barrier before a tile is loaded", right_tiled<Bug::no_barrier_before_load>, true, true, "race: "},
    {"no barrier in a block's reduction", right_reductions<Bug::no_barrier_in_reduction>, true, true,
     "of shared memory"},
    {"no barrier before scratch is used again", right_reductions<Bug::no_barrier_before_scratch_reuse>, true, true,
     "race: "},
    {"no barrier before a cp.async buffer is used again", right_pipelined<Bug::no_barrier_before_buffer_reuse>, true,
     true, "of shared memory"},
    {"no barrier in a warp", right_warp_tiled<Bug::no_barrier_in_warp>, true, true, "race: "},
    {"no wait for cp.async", right_pipelined<Bug::no_wait>, true, false, "was not waited for"},
    {"a copy onto one under way", right_pipelined<Bug::copy_onto_copy>, false, false, "was not waited for"},
    {"a word that was never written", right_tiled<Bug::never_written>, true, false, "the block has not written it"},
    {"a plain += across blocks", right_count<Bug::plain_sum_across_blocks>, false, false, "of another block"},
    {"no fence before the atomic that says that a block is done", right_count<Bug::no_fence>, false, false,
     "of another block"},
};

// What is found: "" for nothing.
std::string finding(bool (*right)()) {
  try {
    return right() ? "" : "a wrong result, " + repeat_command();
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("the kernels without a bug pass in every schedule") {
  for_each_schedule([] {
    for (const auto& right : {right_tiled<Bug::none>, right_warp_tiled<Bug::none>, right_reductions<Bug::none>,
                              right_pipelined<Bug::none>, right_count<Bug::none>})
      CHECK(finding(right) == "");
  });
}

#ifdef DUET_TEST_UNDER_TSAN

// The child: DUET_SIMT_PLANTED says which.
TEST_CASE("planted bug in a process of its own" * doctest::skip(std::getenv("DUET_SIMT_PLANTED") == nullptr)) {
  const char* const number = std::getenv("DUET_SIMT_PLANTED");
  if (number) kPlanted[std::atoi(number)].broken();
}

TEST_CASE("every planted race inside a block is reported under ThreadSanitizer" *
          doctest::skip(std::getenv("DUET_SIMT_PLANTED") != nullptr)) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  for (size_t i = 0; i < std::size(kPlanted); ++i) {
    if (!kPlanted[i].shown_by_tsan) continue;
    const std::string command = text("DUET_SIMT_PLANTED=", i, " DUET_SIMT_ORDER=forward '", program,
                                     "' --test-case='planted bug in a process of its own' 2>&1");
    std::string output;
    FILE* const pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    for (char line[512]; std::fgets(line, sizeof line, pipe);) output += line;
    const int status = pclose(pipe);
    CAPTURE(kPlanted[i].name);
    CAPTURE(command);
    CAPTURE(output);
    CHECK(status != 0);
    CHECK(output.find("ThreadSanitizer: data race") != std::string::npos);
    CHECK(output.find("planted_test.cpp:") != std::string::npos);
  }
}

#elif defined(DUET_CHECKED)

TEST_CASE("every planted bug is found by the checker in every schedule, with file and line") {
  for_each_schedule([] {
    for (const Planted& planted : kPlanted) {
      const std::string found = finding(planted.broken);
      CAPTURE(planted.name);
      CAPTURE(found);
      CHECK(found.find(planted.finding) != std::string::npos);
      CHECK(found.find("planted_test.cpp:") != std::string::npos);
    }
  });
}

#else

TEST_CASE("most planted bugs are shown by schedules and poison") {
  for (const Planted& planted : kPlanted) {
    std::string shown;
    for_each_schedule([&] {
      if (shown.empty()) shown = finding(planted.broken);
    });
    CAPTURE(planted.name);
    CAPTURE(shown);
    CHECK(!shown.empty() == planted.shown_by_schedules);
    if (!shown.empty()) MESSAGE(planted.name << ": " << shown);
  }
}

#endif

}  // namespace duet::simt
