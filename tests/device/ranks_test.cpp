// Device ranks on threads, on the CPU and on the emulated device: the bits of the bare tree on any number of ranks.
#include <doctest/doctest.h>

#include <atomic>

#include "runtime/device.h"
#include "runtime/ranks/staged_ranks.h"
#include "runtime/ranks/thread_ranks.h"
#include "tests/device/devices.h"
#include "tests/ranks/device_cases.h"

using namespace duet;
using namespace duet::testing;

TEST_CASE("every call of device ranks on 1 to 4 ranks") {
  for (const DeviceOptions& options : {on_cpu(), on_emulator()})
    for (int size = 1; size <= 4; ++size) {
      CAPTURE(options.kind);
      CAPTURE(size);
      std::atomic<int> ended = 0;
      run_thread_ranks(size, [&](Ranks& ranks) {
        Device device(options);
        StagedRanks device_ranks(ranks, device.step_context());
        test::run_device_rank_cases(device_ranks, ranks, device.step_context());
        ++ended;
      });
      CHECK(ended == size);
    }
}

TEST_CASE("a rank that has failed ends the calls of the others") {
  std::atomic<int> refused = 0;
  const auto body = [&](Ranks& ranks) {
    Device device(on_emulator());
    StagedRanks device_ranks(ranks, device.step_context());
    if (ranks.rank() == 1) throw std::runtime_error("no such file");
    for (int repeat = 0; repeat < 2; ++repeat) {
      try {
        device_ranks.wait();
      } catch (const Error& error) {
        CHECK(error.status() == DUET_STATUS_IO_ERROR);
        CHECK(std::string(error.what()) == "ranks: rank 1 has failed: no such file");
        ++refused;
      }
    }
  };
  CHECK_THROWS_WITH(run_thread_ranks(3, body), "no such file");
  CHECK(refused == 4);
}

TEST_CASE("device ranks without a context are refused") {
  run_thread_ranks(1, [](Ranks& ranks) { CHECK_THROWS_WITH(StagedRanks(ranks, nullptr), "context: null"); });
}
