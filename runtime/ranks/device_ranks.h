// The calls of Ranks whose payloads lie in the memory of the ranks' devices: they are put on a context's stream, and
// sums are added there by the same tree. What the ranks agree on travels by Ranks, on the host, so that a rank that
// does not come is known by name.
#pragma once

#include <functional>

#include "runtime/memory.h"
#include "runtime/ranks/ranks.h"

namespace duet {

// Every rank makes the same calls in the same order, and among them those of its Ranks. Spans are of the context's
// memory, and so are the nodes of RankSums. A call returns when all ranks have made it; what it does is done in the
// order of the context's stream, whose capture no call can be a part of. Errors as those of Ranks, and
// DUET_STATUS_CUDA_ERROR and DUET_STATUS_OUT_OF_MEMORY of the device. After DUET_STATUS_IO_ERROR every call throws.
class DeviceRanks {
 public:
  virtual ~DeviceRanks() = default;
  DeviceRanks(const DeviceRanks&) = delete;
  DeviceRanks& operator=(const DeviceRanks&) = delete;

  int rank() const { return ranks_.rank(); }
  int size() const { return ranks_.size(); }

  // Every rank's bytes, any number of them, in the order of the ranks; mine may be its own place in all, whose size is
  // that of all ranks' together.
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all);
  // As of Ranks, with the same bits. A context that does not note faults waits for the device at every addition.
  void reduce_scatter(const RankSums& sums, std::span<float> slice);
  void all_reduce(const RankSums& sums, std::span<float> sum);

  // Returns when all that was put on the stream is done, on this rank; every rank calls it.
  void wait();

 protected:
  using Outgoing = Ranks::Outgoing;
  using Incoming = Ranks::Incoming;

  // Both are borrowed, for as long as this lives.
  DeviceRanks(Ranks& ranks, duet_context* context);
  duet_context* context() const { return context_; }

  // What an engine is: as Ranks::exchange, of the context's memory, in the order of its stream.
  virtual void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) = 0;
  // Returns when the stream's work is done.
  virtual void wait_for_stream(const char* call) = 0;
  // A rank is gone: what is on the stream must not wait for it.
  virtual void abandon() noexcept {}

  // Messages of the host's memory, by Ranks.
  void exchange_on_host(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming);
  // Runs body, which calls Ranks.
  void on_host(const std::function<void()>& body);

 private:
  void run(Ranks::Call call, const Ranks::Transfer& transfer);
  void add_slices(Ranks::Call call, const RankSums& sums, std::span<float> slice);
  void add(float* left, const float* right, int64_t length);

  Ranks& ranks_;
  duet_context* context_;
  DeviceArray<float> received_;       // slices of nodes
  DeviceArray<int64_t> first_index_;  // 0
};

}  // namespace duet
