// Device ranks whose payloads go through the host's memory: the double that tests run on, without a second device.
#pragma once

#include <memory>

#include "runtime/ranks/device_ranks.h"

namespace duet {

// On any context and any Ranks. A call that sends or takes anything waits for the stream.
class StagedRanks : public DeviceRanks {
 public:
  // Both are borrowed, for as long as this lives. Throws DUET_STATUS_INVALID_ARGUMENT for a null context.
  StagedRanks(Ranks& ranks, duet_context* context) : DeviceRanks(ranks, context) {}

 protected:
  void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) override;
  void wait_for_stream(const char* call) override;

 private:
  std::unique_ptr<PinnedArray<std::byte>> stage_;
};

}  // namespace duet
