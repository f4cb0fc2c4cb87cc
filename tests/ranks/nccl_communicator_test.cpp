// What can be seen of NCCL without a GPU: the library is there and takes our calls, and what is wrong is one line.
#include "runtime/ranks/nccl_communicator.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "kernels/core/error.h"
#include "runtime/ranks/thread_ranks.h"

using namespace duet;

namespace {

struct Thrown {
  duet_status status = DUET_STATUS_OK;
  std::string message;
};

Thrown thrown_by_making(Ranks& ranks, std::chrono::milliseconds deadline) {
  try {
    NcclCommunicator communicator(ranks, deadline);
  } catch (const Error& error) {
    return {error.status(), error.what()};
  }
  return {};
}

}  // namespace

TEST_CASE("the library is what the headers are of, or a later one") {
  int version = 0;
  REQUIRE(ncclGetVersion(&version) == ncclSuccess);
  CHECK(version >= NCCL_VERSION_CODE);
}

TEST_CASE("a deadline under 1 s is refused") {
  run_thread_ranks(1, [](Ranks& ranks) {
    const Thrown thrown = thrown_by_making(ranks, std::chrono::milliseconds(999));
    CHECK(thrown.status == DUET_STATUS_INVALID_ARGUMENT);
    CHECK(thrown.message == "deadline: expected at least 1000 ms, got 999");
  });
}

TEST_CASE("without a GPU every rank gets one line that names the call") {
  if (std::filesystem::exists("/dev/nvidia0")) {
    MESSAGE("skipped: there is a GPU");
    return;
  }
  for (const int size : {1, 3})
    run_thread_ranks(size, [](Ranks& ranks) {
      const Thrown thrown = thrown_by_making(ranks, std::chrono::seconds(25));
      CHECK(thrown.status == DUET_STATUS_IO_ERROR);
      CAPTURE(thrown.message);
      CHECK(thrown.message.starts_with("ranks: ncclCommInitRankConfig: "));
      CHECK(thrown.message.find('\n') == std::string::npos);
      CHECK(thrown.message.size() < 300);
      ranks.barrier();  // the ranks go on without it
    });
}
