#include "runtime/ranks/nccl_ranks.h"

#include "kernels/core/dispatch.h"
#include "runtime/ranks/nccl_communicator.h"

namespace duet {

NcclRanks::NcclRanks(Ranks& ranks, duet_context* context, const NcclOptions& options) : DeviceRanks(ranks, context) {
  require(context->device == DUET_DEVICE_CUDA, "context: expected one of a CUDA device, got one of the CPU");
  duet_event* event = nullptr;
  succeed(duet_event_create(context, &event));
  event_.reset(event);
  const Current current(context);
  communicator_ = std::make_unique<NcclCommunicator>(ranks, options.deadline);
}

NcclRanks::~NcclRanks() = default;

void NcclRanks::exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) {
  const Current current(context());
  const auto stream = static_cast<cudaStream_t>(context()->stream);
  communicator_->begin();
  for (const Incoming& one : incoming) communicator_->receive(one.peer, one.bytes, stream);
  for (const Outgoing& one : outgoing) communicator_->send(one.peer, one.bytes, stream);
  communicator_->end(call);
}

void NcclRanks::wait_for_stream(const char* call) {
  succeed(duet_event_record(context(), event_.get()));
  communicator_->wait_until(call, [&] {
    int32_t done = 0;
    succeed(duet_event_done(event_.get(), &done));
    return done != 0;
  });
}

void NcclRanks::abandon() noexcept { communicator_->abort(); }

void NcclRanks::finish() {
  wait();
  communicator_->finish();
}

}  // namespace duet
