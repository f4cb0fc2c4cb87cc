#include "runtime/ranks/device_ranks.h"

#include "kernels/core/sized.h"

namespace duet {

DeviceRanks::DeviceRanks(Ranks& ranks, duet_context* context) : ranks_(ranks), context_(context) {
  require(context != nullptr, "context: null");
  first_index_ = DeviceArray<int64_t>(context, 1);
  first_index_.clear();
}

void DeviceRanks::on_host(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.status() == DUET_STATUS_IO_ERROR) abandon();
    throw;
  }
}

void DeviceRanks::exchange_on_host(const char* call, std::span<const Outgoing> outgoing,
                                   std::span<const Incoming> incoming) {
  on_host([&] { ranks_.exchange(call, outgoing, incoming); });
}

void DeviceRanks::run(Ranks::Call call, const Ranks::Transfer& transfer) {
  for (const auto& one : transfer.copies)
    if (one.from.data() != one.to) copy_bytes(context_, one.to, one.from.data(), one.from.size());
  exchange(Ranks::name_of(call), transfer.outgoing, transfer.incoming);
}

void DeviceRanks::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  const auto call = Ranks::Call::device_all_gather;
  std::vector<size_t> offsets;
  on_host([&] { offsets = ranks_.agree_on_offsets(call, mine.size()); });
  run(call, ranks_.gather(offsets, mine, all));
}

// left[i] += right[i]: the gradient of a gather adds the gradient of a row to that of the row it came from.
void DeviceRanks::add(float* left, const float* right, int64_t length) {
  succeed(duet_gather_backward(context_,
                               sized<duet_gather_inputs>({.indices = duet_i64_const_vector(first_index_.data(), 1)}),
                               sized<duet_gather_gradients>({.grad_rows = duet_f32_const_matrix(right, 1, length),
                                                             .grad_source = duet_f32_matrix(left, 1, length)})));
}

// Of no block the sum is 0.
void DeviceRanks::add_slices(Ranks::Call call, const RankSums& sums, std::span<float> slice) {
  ranks_.require_slice(sums, slice);
  const auto room = [&](size_t bytes) {
    const auto size = static_cast<int64_t>(bytes / sizeof(float));
    if (received_.size() < size) received_ = DeviceArray<float>(context_, size);
    return reinterpret_cast<std::byte*>(received_.data());
  };
  std::vector<const void*> nodes;
  Ranks::SlicedNodes sliced;
  on_host(
      [&] { sliced = ranks_.slice_nodes(call, Ranks::items_of(sums, nodes), std::as_writable_bytes(slice), room); });
  if (sliced.nodes.empty()) fill_zero(context_, slice.data(), slice.size_bytes());
  run(call, sliced.transfer);
  const int64_t length = std::ssize(slice);
  if (length > 0)
    add_nodes(sliced.nodes, sums.blocks, [&](void* left, const void* right) {
      add(static_cast<float*>(left), static_cast<const float*>(right), length);
    });
}

void DeviceRanks::reduce_scatter(const RankSums& sums, std::span<float> slice) {
  add_slices(Ranks::Call::device_reduce_scatter, sums, slice);
}

void DeviceRanks::all_reduce(const RankSums& sums, std::span<float> sum) {
  require(std::ssize(sum) == sums.length, "sum: expected ", sums.length, " floats, got ", sum.size());
  const IndexRange own = share(sums.length, rank(), size());
  const auto slice = sum.subspan(static_cast<size_t>(own.first), static_cast<size_t>(own.size()));
  const auto call = Ranks::Call::device_all_reduce;
  add_slices(call, sums, slice);
  run(call, ranks_.gather(ranks_.slice_offsets(sums.length, sizeof(float)), std::as_bytes(slice),
                          std::as_writable_bytes(sum)));
}

// When all ranks are here, all have put on their streams what the others' streams wait for.
void DeviceRanks::wait() {
  const auto call = Ranks::Call::device_wait;
  on_host([&] { ranks_.agree({call, 0, 0, {}}); });
  wait_for_stream(Ranks::name_of(call));
}

}  // namespace duet
