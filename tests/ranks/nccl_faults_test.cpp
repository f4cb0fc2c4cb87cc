// What the communicator makes of what NCCL answers, beside a double of the library.
#include <doctest/doctest.h>

#include <optional>

#include "kernels/core/error.h"
#include "runtime/ranks/nccl_communicator.h"
#include "runtime/ranks/thread_ranks.h"
#include "tests/ranks/nccl_double.h"

using namespace duet;
using duet::test::nccl_script;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kDeadline{1000};
constexpr int kForEver = 1 << 30;  // polls

void check_throws(const std::function<void()>& call, duet_status status, const std::string& message) {
  std::string caught = "nothing";
  try {
    call();
  } catch (const Error& error) {
    caught = error.what();
    CHECK(error.status() == status);
  }
  CHECK(caught == message);
}

// On a rank of its own.
void alone(const std::function<void(Ranks&)>& body) { run_thread_ranks(1, body); }

void send_once(NcclCommunicator& communicator, const char* call) {
  std::byte byte{};
  communicator.begin();
  communicator.receive(0, std::span(&byte, 1), nullptr);
  communicator.send(0, std::span(&byte, 1), nullptr);
  communicator.end(call);
}

}  // namespace

TEST_CASE("messages pass in a group, and finish() ends the communicator without giving it up") {
  alone([](Ranks& ranks) {
    std::optional<NcclCommunicator> communicator(std::in_place, ranks, kDeadline);
    send_once(*communicator, "all_gather (device)");
    CHECK(nccl_script.groups_begun == 1);
    CHECK(nccl_script.groups_ended == 1);
    CHECK(nccl_script.sends == 1);
    CHECK(nccl_script.receives == 1);
    CHECK(nccl_script.polled == 3);  // twice it was at it
    communicator->finish();
    CHECK(nccl_script.finalized == 1);
    CHECK(nccl_script.destroyed == 1);
    check_throws([&] { communicator->begin(); }, DUET_STATUS_IO_ERROR, "ranks: the communicator has ended");
    check_throws([&] { communicator->finish(); }, DUET_STATUS_IO_ERROR, "ranks: the communicator has ended");
    communicator.reset();
    CHECK(nccl_script.aborted == 0);
  });
}

TEST_CASE("without finish() the communicator is given up") {
  alone([](Ranks& ranks) {
    { NcclCommunicator communicator(ranks, kDeadline); }
    CHECK(nccl_script.aborted == 1);
    CHECK(nccl_script.destroyed == 0);
  });
}

TEST_CASE("rank 0's id reaches all ranks, or its error does") {
  for (const ncclResult_t code : {ncclSuccess, ncclSystemError})
    run_thread_ranks(3, [&](Ranks& ranks) {
      nccl_script.id = ranks.rank() == 0 ? code : ncclRemoteError;  // of another rank nobody asks for one
      const auto make = [&] { NcclCommunicator communicator(ranks, kDeadline); };
      if (code == ncclSuccess)
        make();
      else
        check_throws(make, DUET_STATUS_IO_ERROR, "ranks: ncclGetUniqueId on rank 0: unhandled system error");
      CHECK(nccl_script.inits == (code == ncclSuccess ? 1 : 0));
    });
}

TEST_CASE("an older library, or another one on some rank, is refused") {
  alone([](Ranks& ranks) {
    nccl_script.version = 22'105;
    const int built = NCCL_VERSION_CODE;
    check_throws([&] { NcclCommunicator communicator(ranks, kDeadline); }, DUET_STATUS_UNSUPPORTED,
                 text("ranks: built for NCCL ", built / 10'000, '.', built / 100 % 100, '.', built % 100,
                      ", but the library is 2.21.5"));
  });
  run_thread_ranks(3, [](Ranks& ranks) {
    nccl_script.version = ranks.rank() == 2 ? 29'907 : 29'906;
    check_throws([&] { NcclCommunicator communicator(ranks, kDeadline); }, DUET_STATUS_UNSUPPORTED,
                 "ranks: rank 2 runs NCCL 2.99.7 where rank 0 runs 2.99.6");
  });
}

TEST_CASE("the beginning ends after the deadline, or with its error") {
  alone([](Ranks& ranks) {
    const auto make = [&] { NcclCommunicator communicator(ranks, kDeadline); };
    nccl_script.polls_in_progress = kForEver;
    check_throws(make, DUET_STATUS_IO_ERROR, "ranks: NCCL has not gone on in ncclCommInitRankConfig for 1 s");
    CHECK(nccl_script.aborted == 1);
    nccl_script.polls_in_progress = 2;
    nccl_script.background = ncclSystemError;
    nccl_script.detail = "connect: no route to host\na second line";
    check_throws(make, DUET_STATUS_IO_ERROR,
                 "ranks: ncclCommInitRankConfig: unhandled system error: connect: no route to host");
    CHECK(nccl_script.aborted == 2);
  });
}

TEST_CASE("an error in a group ends the group, and every later call throws it") {
  alone([](Ranks& ranks) {
    NcclCommunicator communicator(ranks, kDeadline);
    nccl_script.send = ncclSystemError;
    const std::string message = "ranks: ncclSend: unhandled system error";
    check_throws([&] { send_once(communicator, "all_gather (device)"); }, DUET_STATUS_IO_ERROR, message);
    CHECK(nccl_script.groups_ended == 1);
    CHECK(nccl_script.aborted == 1);
    nccl_script.send = ncclSuccess;
    for (const auto& call : {std::function<void()>([&] { communicator.begin(); }), {[&] { communicator.finish(); }}})
      check_throws(call, DUET_STATUS_IO_ERROR, message);
    CHECK(nccl_script.aborted == 1);
  });
}

TEST_CASE("an error in the background names the call") {
  alone([](Ranks& ranks) {
    NcclCommunicator communicator(ranks, kDeadline);
    nccl_script.background = ncclRemoteError;
    check_throws([&] { send_once(communicator, "all_reduce (device)"); }, DUET_STATUS_IO_ERROR,
                 "ranks: all_reduce (device): remote process exited");
    CHECK(nccl_script.aborted == 1);
  });
}

TEST_CASE("a wait ends when what is waited for is there, with an error, or after the deadline") {
  alone([](Ranks& ranks) {
    NcclCommunicator communicator(ranks, kDeadline);
    int asked = 0;
    communicator.wait_until("wait (device)", [&] { return ++asked == 5; });
    CHECK(asked == 5);
    check_throws(
        [&] {
          communicator.wait_until("wait (device)", [&] {
            nccl_script.background = ncclRemoteError;
            return false;
          });
        },
        DUET_STATUS_IO_ERROR, "ranks: wait (device): remote process exited");
  });
  alone([](Ranks& ranks) {
    NcclCommunicator communicator(ranks, kDeadline);
    const auto begun = std::chrono::steady_clock::now();
    check_throws([&] { communicator.wait_until("wait (device)", [] { return false; }); }, DUET_STATUS_IO_ERROR,
                 "ranks: NCCL has not gone on in wait (device) for 1 s");
    CHECK(std::chrono::steady_clock::now() - begun >= kDeadline);
    CHECK(nccl_script.aborted == 1);
  });
}
