// Runs the kernels' tests on the emulated CUDA backend, once a schedule: forward, reverse, and eight random ones whose seeds change from run to
// run; under a sanitizer or the emulator's checker fewer. DUET_SIMT_ORDER and DUET_SIMT_SEED choose one schedule, as the line that a failure prints
// does.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/simt/simt.h"
#include "tests/support/device.h"
#include "tests/support/run.h"

namespace {

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DUET_UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kSlowdown = 8;
constexpr bool kForward = true, kReverse = false;
constexpr uint64_t kRandom = 1;
#elif defined(DUET_UNDER_TSAN)
constexpr int64_t kSlowdown = 12;
constexpr bool kForward = false, kReverse = false;
constexpr uint64_t kRandom = 1;
#elif defined(DUET_CHECKED)
constexpr int64_t kSlowdown = 12;
constexpr bool kForward = true, kReverse = false;
constexpr uint64_t kRandom = 0;
#else
constexpr int64_t kSlowdown = 1;
constexpr bool kForward = true, kReverse = true;
constexpr uint64_t kRandom = 8;
#endif

// What a run over one operation's tests may cost: shapes about a tile, and one larger in forward order where nothing slows it.
constexpr int64_t kForwardOperations = 30'000'000 / kSlowdown, kOtherOperations = 4'000'000;

using duet::simt::Order;

}  // namespace

int main(int argc, char** argv) {
  std::vector<duet::simt::Schedule> schedules;
  if (std::getenv("DUET_SIMT_ORDER")) {
    schedules.push_back(duet::simt::schedule());
  } else {
    if (kForward) schedules.push_back({Order::forward, 1});
    if (kReverse) schedules.push_back({Order::reverse, 1});
    const uint64_t first = duet::simt::schedule().seed;  // of the clock
    for (uint64_t k = 0; k < kRandom; ++k) schedules.push_back({Order::random, first + k});
  }
  duet::test::device.kind = DUET_CUDA;
  duet::test::device.emulated = true;
  for (const duet::simt::Schedule& schedule : schedules) {
    duet::simt::set_schedule(schedule);
    duet::test::device.every_value = schedule.order == Order::forward;
    duet::test::device.repeats = schedule.order == Order::random;
    // Both forms of an operation that has two: small shapes in one launch a pass, and the same shapes in tiles.
    const bool tiles = schedule.order == Order::reverse || (schedule.order == Order::random && schedule.seed % 2 == 1);
    duet::test::device.small_rows = tiles ? -1 : 0;
    // In half of the random schedules a device that gives a block the least shared memory that the kernels ask for, in the others the most.
    const bool small_device = schedule.order == Order::random && schedule.seed / 2 % 2 == 1;
    duet::simt::play(small_device ? duet::simt::kLeastDevice : duet::simt::PlayedDevice{});
    duet::test::device.most_operations = duet::test::device.every_value ? kForwardOperations : kOtherOperations;
    doctest::Context context(argc, argv);
    const int failed = duet::test::run_tests(context);
    if (context.shouldExit()) return failed;
    if (failed) {
      std::printf("repeat with: %s\n", duet::simt::repeat_command().c_str());
      return failed;
    }
    // AddressSanitizer does not see it.
    if (const size_t bytes = duet::cuda::memory_in_use(); bytes != 0) {
      std::printf("%zu bytes of device memory were not released\nrepeat with: %s\n", bytes, duet::simt::repeat_command().c_str());
      return 1;
    }
  }
  return 0;
}
