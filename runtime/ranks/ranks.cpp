#include "runtime/ranks/ranks.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/error.h"

namespace duet {

namespace {

std::vector<size_t> offsets_of(const std::vector<size_t>& sizes) {
  std::vector<size_t> offsets{0};
  for (const size_t size : sizes) offsets.push_back(offsets.back() + size);
  return offsets;
}

void copy(std::span<const std::byte> from, std::byte* to) {
  if (!from.empty() && from.data() != to) std::memcpy(to, from.data(), from.size());
}

void reduce_into(Reduction reduction, int64_t value, int64_t& into) {
  switch (reduction) {
    case Reduction::sum: into = static_cast<int64_t>(static_cast<uint64_t>(into) + static_cast<uint64_t>(value)); break;
    case Reduction::min: into = std::min(into, value); break;
    case Reduction::max: into = std::max(into, value); break;
  }
}

}  // namespace

const char* Ranks::name_of(Call call) {
  switch (call) {
    case Call::barrier: return "barrier";
    case Call::all_gather: return "all_gather";
    case Call::sum: return "all_reduce (sum)";
    case Call::min: return "all_reduce (min)";
    case Call::max: return "all_reduce (max)";
    case Call::reduce_scatter: return "reduce_scatter";
    case Call::all_reduce: return "all_reduce (floats)";
    case Call::items: return "all_reduce (items)";
    case Call::device_all_gather: return "all_gather (device)";
    case Call::device_reduce_scatter: return "reduce_scatter (device)";
    case Call::device_all_reduce: return "all_reduce (device)";
    case Call::device_wait: return "wait (device)";
  }
  return "an unknown call";
}

// Every rank's intent; throws where they do not go together. All ranks come to the same result.
std::vector<Ranks::Intent> Ranks::agree(const Intent& mine) {
  std::vector<Intent> all(static_cast<size_t>(size_), mine);
  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    outgoing.push_back({peer, std::as_bytes(std::span(&mine, 1))});
    incoming.push_back({peer, std::as_writable_bytes(std::span(&all[static_cast<size_t>(peer)], 1))});
  }
  exchange(name_of(mine.call), outgoing, incoming);

  const Intent& first = all.front();
  const char* name = name_of(first.call);
  for (int rank = 0; rank < size_; ++rank) {
    const Intent& one = all[static_cast<size_t>(rank)];
    require(one.call == first.call, "ranks: rank ", rank, " calls ", name_of(one.call), " where rank 0 calls ", name);
    const bool any_count = one.call == Call::all_gather || one.call == Call::device_all_gather;
    require(one.count == first.count || any_count, "ranks: rank ", rank, " gives ", one.count, " values to ", name,
            " where rank 0 gives ", first.count);
    require(one.item_bytes == first.item_bytes, "ranks: rank ", rank, " gives items of ", one.item_bytes, " bytes to ",
            name, " where rank 0 gives items of ", first.item_bytes);
    require(one.blocks == first.blocks, "ranks: rank ", rank, " adds ", one.blocks, " blocks in ", name,
            " where rank 0 adds ", first.blocks);
  }
  int64_t covered = 0;
  for (int rank = 0; rank < size_; ++rank) {
    const IndexRange& range = all[static_cast<size_t>(rank)].mine;
    const int64_t end = rank == size_ - 1 ? first.blocks : range.last;
    require(range.first == covered && range.last == end, "ranks: rank ", rank, " has blocks ", range.first, " to ",
            range.last, " of ", first.blocks, " in ", name, " where those before it end at ", covered);
    covered = range.last;
  }
  return all;
}

void Ranks::barrier() { agree({Call::barrier, 0, 0, {}}); }

std::vector<size_t> Ranks::agree_on_offsets(Call call, size_t bytes) {
  std::vector<size_t> sizes;
  for (const Intent& one : agree({call, static_cast<int64_t>(bytes), 0, {}}))
    sizes.push_back(static_cast<size_t>(one.count));
  return offsets_of(sizes);
}

// mine lands at offsets[rank_] of all, and so do the others'.
Ranks::Transfer Ranks::gather(const std::vector<size_t>& offsets, std::span<const std::byte> mine,
                              std::span<std::byte> all) const {
  require(all.size() == offsets.back(), "all: expected room for all ranks' ", offsets.back(), " bytes, got ",
          all.size());
  Transfer transfer;
  for (int peer = 0; peer < size_; ++peer) {
    const auto p = static_cast<size_t>(peer);
    const auto place = all.subspan(offsets[p], offsets[p + 1] - offsets[p]);
    if (peer == rank_) {
      transfer.copies.push_back({mine, place.data()});
    } else {
      if (!mine.empty()) transfer.outgoing.push_back({peer, mine});
      if (!place.empty()) transfer.incoming.push_back({peer, place});
    }
  }
  return transfer;
}

void Ranks::run(Call call, const Transfer& transfer) {
  for (const Transfer::Copy& one : transfer.copies) copy(one.from, one.to);
  exchange(name_of(call), transfer.outgoing, transfer.incoming);
}

Gathered Ranks::all_gather(std::span<const std::byte> mine) {
  Gathered gathered{{}, agree_on_offsets(Call::all_gather, mine.size())};
  gathered.bytes.resize(gathered.offsets.back());
  run(Call::all_gather, gather(gathered.offsets, mine, gathered.bytes));
  return gathered;
}

void Ranks::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  run(Call::all_gather, gather(agree_on_offsets(Call::all_gather, mine.size()), mine, all));
}

void Ranks::all_reduce(Reduction reduction, std::span<int64_t> values) {
  const Call call = reduction == Reduction::sum ? Call::sum : reduction == Reduction::min ? Call::min : Call::max;
  agree({call, static_cast<int64_t>(values.size()), 0, {}});
  const auto size = static_cast<size_t>(size_);
  std::vector<int64_t> all(size * values.size());
  const std::vector<size_t> sizes(size, values.size_bytes());
  run(call, gather(offsets_of(sizes), std::as_bytes(values), std::as_writable_bytes(std::span(all))));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = all[i];
    for (size_t rank = 1; rank < size; ++rank) reduce_into(reduction, all[rank * values.size() + i], values[i]);
  }
}

std::vector<size_t> Ranks::slice_offsets(int64_t length, int64_t item_bytes) const {
  std::vector<size_t> offsets;
  for (int rank = 0; rank <= size_; ++rank)
    offsets.push_back(static_cast<size_t>(share(length, rank, size_).first * item_bytes));
  return offsets;
}

RankItems Ranks::items_of(const RankSums& sums, std::vector<const void*>& nodes) {
  nodes.assign(sums.nodes.begin(), sums.nodes.end());
  return {sums.blocks, sums.mine, nodes, sums.length, sizeof(float), add_floats};
}

void Ranks::require_slice(const RankSums& sums, std::span<float> slice) const {
  require(sums.length >= 0, "length: expected at least 0, got ", sums.length);
  const int64_t own = share(sums.length, rank_, size_).size();
  require(std::ssize(slice) == own, "slice: expected ", own, " floats, got ", slice.size());
}

Ranks::SlicedNodes Ranks::slice_nodes(Call call, const RankItems& items, std::span<std::byte> slice,
                                      const std::function<std::byte*(size_t)>& room) {
  const size_t own_nodes = block_nodes(items.mine, items.blocks).size();
  require(items.nodes.size() == own_nodes, "nodes: expected ", own_nodes, " for blocks ", items.mine.first, " to ",
          items.mine.last, " of ", items.blocks, ", got ", items.nodes.size());

  SlicedNodes sliced;
  std::vector<NodeSum>& nodes = sliced.nodes;
  std::vector<int> owners;
  const std::vector<Intent> all = agree({call, items.length, items.blocks, items.mine, items.item_bytes});
  for (int rank = 0; rank < size_; ++rank)
    for (const IndexRange& node : block_nodes(all[static_cast<size_t>(rank)].mine, items.blocks)) {
      nodes.push_back({node, nullptr});
      owners.push_back(rank);
    }
  std::byte* const others = room(nodes.empty() ? 0 : (nodes.size() - 1) * slice.size());
  for (size_t n = 0; n < nodes.size(); ++n) nodes[n].values = n == 0 ? slice.data() : others + (n - 1) * slice.size();

  Transfer& transfer = sliced.transfer;
  const std::vector<size_t> offsets = slice_offsets(items.length, items.item_bytes);
  size_t next = 0;  // of the rank's own nodes
  for (size_t n = 0; n < nodes.size(); ++n) {
    const std::span<std::byte> place(static_cast<std::byte*>(nodes[n].values), slice.size());
    if (owners[n] != rank_) {
      if (!place.empty()) transfer.incoming.push_back({owners[n], place});
      continue;
    }
    const auto* const values = static_cast<const std::byte*>(items.nodes[next++]);
    for (int peer = 0; peer < size_; ++peer) {
      const auto p = static_cast<size_t>(peer);
      const std::span<const std::byte> bytes(values + offsets[p], offsets[p + 1] - offsets[p]);
      if (peer == rank_)
        transfer.copies.push_back({bytes, place.data()});
      else if (!bytes.empty())
        transfer.outgoing.push_back({peer, bytes});
    }
  }
  return sliced;
}

// Of no block the sum is 0.
void Ranks::add_slices(Call call, const RankItems& items, std::span<std::byte> slice) {
  const auto room = [&](size_t bytes) {
    if (received_.size() < bytes) received_.resize(bytes);
    return received_.data();
  };
  const SlicedNodes sliced = slice_nodes(call, items, slice, room);
  if (sliced.nodes.empty()) std::ranges::fill(slice, std::byte{0});
  run(call, sliced.transfer);
  const int64_t count = share(items.length, rank_, size_).size();
  add_nodes(sliced.nodes, items.blocks, [&](void* left, const void* right) { items.add(left, right, count); });
}

void Ranks::add_all(Call call, const RankItems& items, std::span<std::byte> sum) {
  const std::vector<size_t> offsets = slice_offsets(items.length, items.item_bytes);
  const auto r = static_cast<size_t>(rank_);
  const auto slice = sum.subspan(offsets[r], offsets[r + 1] - offsets[r]);
  add_slices(call, items, slice);
  run(call, gather(offsets, slice, sum));
}

void Ranks::reduce_scatter(const RankSums& sums, std::span<float> slice) {
  require_slice(sums, slice);
  std::vector<const void*> nodes;
  add_slices(Call::reduce_scatter, items_of(sums, nodes), std::as_writable_bytes(slice));
}

void Ranks::all_reduce(const RankSums& sums, std::span<float> sum) {
  require(std::ssize(sum) == sums.length, "sum: expected ", sums.length, " floats, got ", sum.size());
  std::vector<const void*> nodes;
  add_all(Call::all_reduce, items_of(sums, nodes), std::as_writable_bytes(sum));
}

void Ranks::all_reduce(const RankItems& items, std::span<std::byte> sum) {
  require(items.length >= 0, "length: expected at least 0, got ", items.length);
  require(items.item_bytes > 0, "item_bytes: expected at least 1, got ", items.item_bytes);
  require(std::ssize(sum) == items.length * items.item_bytes, "sum: expected ", items.length * items.item_bytes,
          " bytes, got ", sum.size());
  add_all(Call::items, items, sum);
}

}  // namespace duet
