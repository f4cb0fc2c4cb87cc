#include "runtime/ranks/staged_ranks.h"

namespace duet {

void StagedRanks::exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) {
  size_t bytes = 0;
  for (const Outgoing& one : outgoing) bytes += one.bytes.size();
  for (const Incoming& one : incoming) bytes += one.bytes.size();
  if (!stage_ || static_cast<size_t>(stage_->size()) < bytes)
    stage_ = std::make_unique<PinnedArray<std::byte>>(context(), static_cast<int64_t>(bytes));

  std::vector<Outgoing> sent;
  std::vector<Incoming> taken;
  std::byte* at = stage_->data();
  for (const Outgoing& one : outgoing) {
    copy_bytes(context(), at, one.bytes.data(), one.bytes.size());
    sent.push_back({one.peer, {at, one.bytes.size()}});
    at += one.bytes.size();
  }
  for (const Incoming& one : incoming) {
    taken.push_back({one.peer, {at, one.bytes.size()}});
    at += one.bytes.size();
  }
  succeed(duet_context_synchronize(context()));
  exchange_on_host(call, sent, taken);
  for (size_t k = 0; k < taken.size(); ++k)
    copy_bytes(context(), incoming[k].bytes.data(), taken[k].bytes.data(), taken[k].bytes.size());
  succeed(duet_context_synchronize(context()));  // the next call writes the same places
}

void StagedRanks::wait_for_stream(const char*) { succeed(duet_context_synchronize(context())); }

}  // namespace duet
