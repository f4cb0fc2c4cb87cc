// Device ranks by NCCL, a thread and a GPU each, as many as this machine has, 4 at most.
#include "runtime/ranks/nccl_ranks.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>

#include "runtime/device.h"
#include "runtime/ranks/thread_ranks.h"
#include "tests/ranks/device_cases.h"

using namespace duet;

namespace {

int32_t gpus() {
  int32_t count = 0;
  return duet_device_count(DUET_DEVICE_CUDA, &count) == DUET_STATUS_OK ? count : 0;
}

}  // namespace

TEST_CASE("a context of the CPU is refused") {
  run_thread_ranks(1, [](Ranks& ranks) {
    const Device device;
    CHECK_THROWS_WITH(NcclRanks(ranks, device.context()), "context: expected one of a CUDA device, got one of the CPU");
  });
}

TEST_CASE("every call of device ranks by NCCL") {
  if (gpus() == 0) {
    MESSAGE("skipped: no CUDA device");
    return;
  }
  for (int size = 1; size <= std::min(gpus(), 4); ++size) {
    CAPTURE(size);
    std::atomic<int> ended = 0;
    run_thread_ranks(size, [&](Ranks& ranks) {
      Device device({.kind = DUET_DEVICE_CUDA, .index = ranks.rank()});
      NcclRanks device_ranks(ranks, device.step_context());
      test::run_device_rank_cases(device_ranks, ranks, device.step_context());
      device_ranks.finish();
      CHECK_THROWS_WITH(device_ranks.all_gather({}, {}), "ranks: the communicator has ended");
      ++ended;
    });
    CHECK(ended == size);
  }
}
