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
    require(one.count == first.count || one.call == Call::all_gather, "ranks: rank ", rank, " gives ", one.count,
            " values to ", name, " where rank 0 gives ", first.count);
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

// mine lands at offsets[rank_] of all, and so do the others'.
void Ranks::gather(Call call, const std::vector<size_t>& offsets, std::span<const std::byte> mine,
                   std::span<std::byte> all) {
  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming;
  for (int peer = 0; peer < size_; ++peer) {
    const auto p = static_cast<size_t>(peer);
    const auto place = all.subspan(offsets[p], offsets[p + 1] - offsets[p]);
    if (peer == rank_) {
      copy(mine, place.data());
    } else {
      if (!mine.empty()) outgoing.push_back({peer, mine});
      if (!place.empty()) incoming.push_back({peer, place});
    }
  }
  exchange(name_of(call), outgoing, incoming);
}

Gathered Ranks::all_gather(std::span<const std::byte> mine) {
  std::vector<size_t> sizes;
  for (const Intent& one : agree({Call::all_gather, static_cast<int64_t>(mine.size()), 0, {}}))
    sizes.push_back(static_cast<size_t>(one.count));
  Gathered gathered{{}, offsets_of(sizes)};
  gathered.bytes.resize(gathered.offsets.back());
  gather(Call::all_gather, gathered.offsets, mine, gathered.bytes);
  return gathered;
}

void Ranks::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  std::vector<size_t> sizes;
  for (const Intent& one : agree({Call::all_gather, static_cast<int64_t>(mine.size()), 0, {}}))
    sizes.push_back(static_cast<size_t>(one.count));
  const std::vector<size_t> offsets = offsets_of(sizes);
  require(all.size() == offsets.back(), "all: expected room for all ranks' ", offsets.back(), " bytes, got ",
          all.size());
  gather(Call::all_gather, offsets, mine, all);
}

void Ranks::all_reduce(Reduction reduction, std::span<int64_t> values) {
  const Call call = reduction == Reduction::sum ? Call::sum : reduction == Reduction::min ? Call::min : Call::max;
  agree({call, static_cast<int64_t>(values.size()), 0, {}});
  const auto size = static_cast<size_t>(size_);
  std::vector<int64_t> all(size * values.size());
  gather(call, offsets_of(std::vector<size_t>(size, values.size_bytes())), std::as_bytes(values),
         std::as_writable_bytes(std::span(all)));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = all[i];
    for (size_t rank = 1; rank < size; ++rank) reduce_into(reduction, all[rank * values.size() + i], values[i]);
  }
}

void Ranks::add_slices(Call call, const RankSums& sums, std::span<float> slice) {
  const IndexRange own = share(sums.length, rank_, size_);
  require(sums.length >= 0, "length: expected at least 0, got ", sums.length);
  require(static_cast<int64_t>(slice.size()) == own.size(), "slice: expected ", own.size(), " floats, got ",
          slice.size());
  const size_t own_nodes = block_nodes(sums.mine, sums.blocks).size();
  require(sums.nodes.size() == own_nodes, "nodes: expected ", own_nodes, " for blocks ", sums.mine.first, " to ",
          sums.mine.last, " of ", sums.blocks, ", got ", sums.nodes.size());

  std::vector<NodeSum> nodes;
  std::vector<int> owners;
  const std::vector<Intent> all = agree({call, sums.length, sums.blocks, sums.mine});
  for (int rank = 0; rank < size_; ++rank)
    for (const IndexRange& node : block_nodes(all[static_cast<size_t>(rank)].mine, sums.blocks)) {
      nodes.push_back({node, nullptr});
      owners.push_back(rank);
    }
  if (nodes.empty()) std::fill(slice.begin(), slice.end(), 0.0f);
  // The sum lands in the first node's place.
  const size_t room = nodes.empty() ? 0 : (nodes.size() - 1) * slice.size();
  if (received_.size() < room) received_.resize(room);
  for (size_t n = 0; n < nodes.size(); ++n)
    nodes[n].values = n == 0 ? slice.data() : received_.data() + (n - 1) * slice.size();

  std::vector<Outgoing> outgoing;
  std::vector<Incoming> incoming;
  size_t next = 0;  // of the rank's own nodes
  for (size_t n = 0; n < nodes.size(); ++n) {
    const std::span<float> place(nodes[n].values, slice.size());
    if (owners[n] != rank_) {
      if (!place.empty()) incoming.push_back({owners[n], std::as_writable_bytes(place)});
      continue;
    }
    const float* values = sums.nodes[next++];
    for (int peer = 0; peer < size_; ++peer) {
      const IndexRange part = share(sums.length, peer, size_);
      const auto bytes = std::as_bytes(std::span(values + part.first, static_cast<size_t>(part.size())));
      if (peer == rank_)
        copy(bytes, std::as_writable_bytes(place).data());
      else if (!bytes.empty())
        outgoing.push_back({peer, bytes});
    }
  }
  exchange(name_of(call), outgoing, incoming);
  add_nodes(nodes, sums.blocks, own.size());
}

void Ranks::reduce_scatter(const RankSums& sums, std::span<float> slice) {
  add_slices(Call::reduce_scatter, sums, slice);
}

void Ranks::all_reduce(const RankSums& sums, std::span<float> sum) {
  require(static_cast<int64_t>(sum.size()) == sums.length, "sum: expected ", sums.length, " floats, got ", sum.size());
  std::vector<size_t> offsets;
  for (int rank = 0; rank <= size_; ++rank)
    offsets.push_back(static_cast<size_t>(share(sums.length, rank, size_).first) * sizeof(float));
  const IndexRange own = share(sums.length, rank_, size_);
  const auto slice = sum.subspan(static_cast<size_t>(own.first), static_cast<size_t>(own.size()));
  add_slices(Call::all_reduce, sums, slice);
  gather(Call::all_reduce, offsets, std::as_bytes(slice), std::as_writable_bytes(sum));
}

}  // namespace duet
