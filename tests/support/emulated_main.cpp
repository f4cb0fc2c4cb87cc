// Runs the kernels' tests on the emulated CUDA backend, once a schedule: forward, in both forms of an operation that
// has two; reverse; and four random ones whose seeds change from run to run. Under a sanitizer or the emulator's
// checker there are fewer. DUET_SIMT_SCHEDULES=forward and =other choose some of them. DUET_SIMT_ORDER and
// DUET_SIMT_SEED choose one schedule, as the line that a failure prints does.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/simt/simt.h"
#include "tests/support/device.h"
#include "tests/support/run.h"

namespace {

// kEveryValue: the forward run goes through every value of a test's parameters, and larger shapes. What slows a run
// watches memory and races, which two values of each show.
#ifdef DUET_TEST_UNDER_ASAN
constexpr bool kForward = true, kReverse = false, kEveryValue = false;
constexpr uint64_t kRandom = 1;
#elif defined(DUET_TEST_UNDER_TSAN)
constexpr bool kForward = false, kReverse = false, kEveryValue = false;
constexpr uint64_t kRandom = 1;
#elif defined(DUET_CHECKED)
constexpr bool kForward = true, kReverse = false, kEveryValue = false;
constexpr uint64_t kRandom = 0;
#else
constexpr bool kForward = true, kReverse = true, kEveryValue = true;
constexpr uint64_t kRandom = 4;
#endif

// What a run over one operation's tests may cost: shapes about a tile, and one larger where every value is taken. Under
// a sanitizer two tiles by two of one step.
#if defined(DUET_TEST_UNDER_ASAN) || defined(DUET_TEST_UNDER_TSAN)
constexpr int64_t kEveryOperations = 2'200'000, kOtherOperations = 2'200'000;
#else
constexpr int64_t kEveryOperations = 30'000'000, kOtherOperations = 4'000'000;
#endif

using duet::simt::Order;

struct Run {
  duet::simt::Schedule schedule;
  bool tiles;         // not the forms for small batches, where an operation has both
  bool small_device;  // which gives a block the least shared memory that the kernels ask for
  bool every_value;   // of the parameters that a test goes through, and larger shapes
};

// Four random schedules in a row go through both forms on both devices.
Run run_in(const duet::simt::Schedule& schedule) {
  const bool random = schedule.order == Order::random;
  return {.schedule = schedule,
          .tiles = schedule.order == Order::reverse || (random && schedule.seed % 2 == 1),
          .small_device = random && schedule.seed / 2 % 2 == 1,
          .every_value = kEveryValue && schedule.order == Order::forward};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Run> runs;
  if (std::getenv("DUET_SIMT_ORDER")) {
    runs.push_back(run_in(duet::simt::schedule()));
  } else {
    const char* const chosen = std::getenv("DUET_SIMT_SCHEDULES");
    const bool forward = !chosen || !std::strcmp(chosen, "forward"), other = !chosen || !std::strcmp(chosen, "other");
    if (!forward && !other) {
      std::fprintf(stderr, "DUET_SIMT_SCHEDULES: expected forward or other, got '%s'\n", chosen);
      return 2;
    }
    if (kForward && forward) runs.push_back(run_in({Order::forward, 1}));
    if (kForward && kReverse && forward)
      runs.push_back({.schedule = {Order::forward, 1}, .tiles = true, .small_device = false, .every_value = false});
    if (kReverse && other) runs.push_back(run_in({Order::reverse, 1}));
    const uint64_t first = duet::simt::schedule().seed;  // of the clock
    // Where there is a forward run and one random one, the latter takes the tiles.
    const uint64_t odd = kForward && kRandom == 1;
    for (uint64_t k = 0; other && k < kRandom; ++k) runs.push_back(run_in({Order::random, (first + k) | odd}));
  }
  duet::test::device.kind = DUET_DEVICE_CUDA;
  duet::test::device.emulated = true;
  for (const Run& run : runs) {
    duet::simt::set_schedule(run.schedule);
    duet::test::device.every_value = run.every_value;
    duet::test::device.repeats = run.schedule.order == Order::random;
    duet::test::device.small_rows = run.tiles ? -1 : 0;
    duet::simt::play(run.small_device ? duet::simt::kLeastDevice : duet::simt::PlayedDevice{});
    duet::test::device.most_operations = duet::test::device.every_value ? kEveryOperations : kOtherOperations;
    doctest::Context context(argc, argv);
    const int failed = duet::test::run_tests(context);
    if (context.shouldExit()) return failed;
    if (failed) {
      std::printf("repeat with: %s\n", duet::simt::repeat_command().c_str());
      return failed;
    }
    // AddressSanitizer does not see it.
    if (const size_t bytes = duet::cuda::memory_in_use(); bytes != 0) {
      std::printf("%zu bytes of device memory were not released\nrepeat with: %s\n", bytes,
                  duet::simt::repeat_command().c_str());
      return 1;
    }
  }
  return 0;
}
