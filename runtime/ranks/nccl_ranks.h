// Device ranks whose payloads NCCL carries from GPU to GPU, on the stream of a context.
#pragma once

#include <chrono>
#include <memory>

#include "runtime/ranks/device_ranks.h"

namespace duet {

class NcclCommunicator;

struct NcclOptions {
  // A call ends with an error where NCCL has done nothing for so long, and wait() where the stream's work has not
  // ended; at least 1 s. Ranks has a deadline of its own, for what the ranks agree on.
  std::chrono::milliseconds deadline{25'000};
};

// Each rank on a GPU of its own.
class NcclRanks : public DeviceRanks {
 public:
  // Collective; ranks hands the communicator's id round. Throws DUET_STATUS_INVALID_ARGUMENT for a context that is not
  // a CUDA device's or options out of range, DUET_STATUS_UNSUPPORTED where the library is older than what this was
  // built with or not on all ranks the same, DUET_STATUS_IO_ERROR where NCCL cannot start.
  NcclRanks(Ranks& ranks, duet_context* context, const NcclOptions& options = {});
  // Without finish() what is still on the stream is given up.
  ~NcclRanks() override;

  // Waits for all ranks, then ends the communicator; the last call, before the last one of Ranks.
  void finish();

 protected:
  void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) override;
  void wait_for_stream(const char* call) override;
  void abandon() noexcept override;

 private:
  struct DestroyEvent {
    void operator()(duet_event* event) const { duet_event_destroy(event); }
  };

  std::unique_ptr<duet_event, DestroyEvent> event_;
  std::unique_ptr<NcclCommunicator> communicator_;
};

}  // namespace duet
