// A communicator of NCCL: messages between the ranks' GPUs, on a stream. None of NCCL's reductions, whose order of
// additions is not ours. Calls wait for NCCL no longer than a deadline.
#pragma once

#include <nccl.h>

#include <chrono>
#include <functional>
#include <span>
#include <string>

#include "runtime/ranks/ranks.h"

namespace duet {

// On the device that is current in its calls, of one thread at a time. NCCL's errors are DUET_STATUS_IO_ERROR, one
// line; the communicator is given up with the first, what it has put on streams ends, and every later call throws the
// same.
class NcclCommunicator {
 public:
  // Collective: rank 0 makes the id, which ranks hands round. deadline: at least 1 s. Throws
  // DUET_STATUS_INVALID_ARGUMENT for a shorter one, DUET_STATUS_UNSUPPORTED where the library is older than what this
  // was built with, or not on all ranks the same.
  NcclCommunicator(Ranks& ranks, std::chrono::milliseconds deadline);
  // Gives it up unless finish() has been called: other ranks may wait for what does not come, until their deadline.
  ~NcclCommunicator() { abort(); }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  // Messages between begin() and end() pass together. The k-th to a peer is the k-th that it takes from this rank, of
  // the same size; they lie in the memory of the device.
  void begin();
  void send(int peer, std::span<const std::byte> bytes, cudaStream_t stream);
  void receive(int peer, std::span<std::byte> bytes, cudaStream_t stream);
  // Returns when they are on the stream. call: its name, for errors.
  void end(const char* call);

  // Returns when done() holds, which is asked again and again, and NCCL does nothing more in the background. Throws
  // where an error comes up, or the deadline passes.
  void wait_until(const char* call, const std::function<bool()>& done);

  // What is on streams ends without having come to its end; later calls throw.
  void abort() noexcept;
  // The last call, when what was put on streams is done on all ranks; collective.
  void finish();

 private:
  void note(ncclResult_t code, const char* function);
  void throw_failure() const;
  [[noreturn]] void fail(const std::string& message);
  // Whether NCCL is at work in the background.
  bool goes_on(const char* call);
  void settle(const char* call);

  std::chrono::milliseconds deadline_;
  ncclComm_t communicator_ = nullptr;  // null: it has been given up, or has ended
  std::string trouble_;                // the first error of the calls under way; empty: none
  std::string failure_;                // what later calls throw
};

}  // namespace duet
