#include "runtime/ranks/nccl_communicator.h"

#include <algorithm>
#include <string_view>
#include <thread>
#include <utility>

#include "kernels/core/error.h"

namespace duet {

namespace {

constexpr std::chrono::microseconds kFirstPause{50}, kLongestPause{1000};

// One line: what the code means, and what the library knows of the case.
std::string reason_of(ncclResult_t code) {
  const std::string_view meaning = ncclGetErrorString(code);
  const char* const last = ncclGetLastError(nullptr);
  const std::string_view whole = last ? last : "", detail = whole.substr(0, whole.find('\n'));
  return detail.empty() ? std::string(meaning) : text(meaning, ": ", detail);
}

// A call that goes on in the background is no error.
bool failed(ncclResult_t code) { return code != ncclSuccess && code != ncclInProgress; }

// 22809 is 2.28.9, as NCCL_VERSION makes it since 2.9.
std::string version_text(int version) { return text(version / 10'000, '.', version / 100 % 100, '.', version % 100); }

// What ranks tell each other before they make a communicator. Its bytes are a message.
struct Greeting {
  int32_t version = 0;
  int32_t code = ncclSuccess;  // of rank 0's id
  ncclUniqueId id{};           // rank 0's
};

Greeting greet(Ranks& ranks) {
  Greeting own;
  int version = 0;
  if (const ncclResult_t code = ncclGetVersion(&version); code != ncclSuccess)
    throw Error(DUET_STATUS_IO_ERROR, text("ranks: ncclGetVersion: ", reason_of(code)));
  own.version = version;
  if (ranks.rank() == 0) own.code = ncclGetUniqueId(&own.id);
  const Gathered all = ranks.all_gather(std::as_bytes(std::span(&own, 1)));
  std::vector<Greeting> greetings(static_cast<size_t>(ranks.size()));
  std::copy(all.bytes.begin(), all.bytes.end(), std::as_writable_bytes(std::span(greetings)).begin());
  const Greeting& first = greetings.front();
  for (size_t rank = 1; rank < greetings.size(); ++rank)
    if (greetings[rank].version != first.version)
      throw Error(DUET_STATUS_UNSUPPORTED,
                  text("ranks: rank ", rank, " runs NCCL ", version_text(greetings[rank].version),
                       " where rank 0 runs ", version_text(first.version)));
  if (version < NCCL_VERSION_CODE)
    throw Error(DUET_STATUS_UNSUPPORTED, text("ranks: built for NCCL ", version_text(NCCL_VERSION_CODE),
                                              ", but the library is ", version_text(version)));
  if (first.code != ncclSuccess)
    throw Error(DUET_STATUS_IO_ERROR,
                text("ranks: ncclGetUniqueId on rank 0: ", ncclGetErrorString(static_cast<ncclResult_t>(first.code))));
  return first;
}

}  // namespace

NcclCommunicator::NcclCommunicator(Ranks& ranks, std::chrono::milliseconds deadline) : deadline_(deadline) {
  require(deadline >= std::chrono::seconds(1), "deadline: expected at least 1000 ms, got ", deadline.count());
  const Greeting greeting = greet(ranks);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // a call that has to wait for other ranks says so, and comes back
  note(ncclCommInitRankConfig(&communicator_, ranks.size(), greeting.id, ranks.rank(), &config),
       "ncclCommInitRankConfig");
  if (!trouble_.empty()) fail(trouble_);
  settle("ncclCommInitRankConfig");
}

void NcclCommunicator::throw_failure() const {
  if (communicator_ == nullptr)
    throw Error(DUET_STATUS_IO_ERROR, failure_.empty() ? "ranks: the communicator has ended" : failure_);
}

void NcclCommunicator::fail(const std::string& message) {
  failure_ = message;
  abort();
  throw Error(DUET_STATUS_IO_ERROR, failure_);
}

void NcclCommunicator::abort() noexcept {
  if (ncclComm_t given = std::exchange(communicator_, nullptr)) ncclCommAbort(given);
}

void NcclCommunicator::note(ncclResult_t code, const char* function) {
  if (failed(code) && trouble_.empty()) trouble_ = text("ranks: ", function, ": ", reason_of(code));
}

void NcclCommunicator::begin() {
  throw_failure();
  trouble_.clear();
  note(ncclGroupStart(), "ncclGroupStart");
}

void NcclCommunicator::send(int peer, std::span<const std::byte> bytes, cudaStream_t stream) {
  note(ncclSend(bytes.data(), bytes.size(), ncclUint8, peer, communicator_, stream), "ncclSend");
}

void NcclCommunicator::receive(int peer, std::span<std::byte> bytes, cudaStream_t stream) {
  note(ncclRecv(bytes.data(), bytes.size(), ncclUint8, peer, communicator_, stream), "ncclRecv");
}

void NcclCommunicator::end(const char* call) {
  note(ncclGroupEnd(), "ncclGroupEnd");
  if (!trouble_.empty()) fail(trouble_);
  settle(call);
}

bool NcclCommunicator::goes_on(const char* call) {
  throw_failure();
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = ncclCommGetAsyncError(communicator_, &state);
  if (failed(code)) state = code;
  if (failed(state)) fail(text("ranks: ", call, ": ", reason_of(state)));
  return state == ncclInProgress;
}

void NcclCommunicator::wait_until(const char* call, const std::function<bool()>& done) {
  const auto begun = std::chrono::steady_clock::now();
  std::chrono::microseconds pause = kFirstPause;
  while (goes_on(call) || !done()) {
    if (std::chrono::steady_clock::now() - begun > deadline_)
      fail(text("ranks: NCCL has not gone on in ", call, " for ", std::chrono::duration<double>(deadline_).count(),
                " s"));
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

void NcclCommunicator::settle(const char* call) {
  wait_until(call, [] { return true; });
}

void NcclCommunicator::finish() {
  throw_failure();
  trouble_.clear();
  note(ncclCommFinalize(communicator_), "ncclCommFinalize");
  if (!trouble_.empty()) fail(trouble_);
  settle("ncclCommFinalize");
  trouble_.clear();
  note(ncclCommDestroy(std::exchange(communicator_, nullptr)), "ncclCommDestroy");
  if (!trouble_.empty()) fail(trouble_);
}

}  // namespace duet
