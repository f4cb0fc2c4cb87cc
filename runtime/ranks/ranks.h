// The ranks of one job, each a process or a thread that holds a part of the global batch, and what they tell each
// other. Every rank makes the same calls in the same order. Floats are added by the tree over blocks of rows alone
// (block_tree.h), never by a library's reduction, so that sums have the same bits on any number of ranks.
//
// Every call sends a message to every other rank: rank 0 of N has N - 1 of them to send and N - 1 to take, so that a
// rank that does not answer is known by name. That is meant for at most some 64 ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/ranks/block_tree.h"

namespace duet {

enum class Reduction { sum, min, max };

// The bytes of all ranks, one rank's after another's.
struct Gathered {
  std::vector<std::byte> bytes;
  std::vector<size_t> offsets;  // size() + 1 of them

  std::span<const std::byte> of(int rank) const {
    const auto r = static_cast<size_t>(rank);
    return std::span(bytes).subspan(offsets[r], offsets[r + 1] - offsets[r]);
  }
};

// What a rank adds to a sum over the global batch.
struct RankSums {
  int64_t blocks = 0;                   // of the global batch, alike on all ranks
  IndexRange mine;                      // this rank's; the ranks' follow one another and cover all blocks
  std::span<const float* const> nodes;  // one a node of block_nodes(mine, blocks), in that order: length floats each
  int64_t length = 0;                   // alike on all ranks
};

// The same of what is added otherwise: items of item_bytes bytes.
struct RankItems {
  int64_t blocks = 0;
  IndexRange mine;
  std::span<const void* const> nodes;  // one a node, length items each
  int64_t length = 0;                  // alike on all ranks, as are the next two
  int64_t item_bytes = 0;
  // Adds count items of the right node to those of the left one.
  std::function<void(void* left, const void* right, int64_t count)> add;
};

// Calls block until all ranks have made them. Arguments are spans of memory that no other argument overlaps but where
// it says so. Errors, thrown as Error: DUET_STATUS_INVALID_ARGUMENT, naming a rank, where the ranks make different
// calls or do not agree on their arguments, every rank throws it; DUET_STATUS_IO_ERROR, naming the rank where it is
// known, where one has failed or does not answer. After an error of the second kind every call throws. What is wrong
// with one rank's own arguments that rank alone throws: the others wait for it until it ends.
class Ranks {
 public:
  virtual ~Ranks() = default;
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }  // 0 to size() - 1
  int size() const { return size_; }

  // Returns after every rank has called it.
  void barrier();

  // Every rank's bytes, any number of them.
  Gathered all_gather(std::span<const std::byte> mine);
  // The same into memory of the caller's, whose size is that of all ranks' together; mine may be its own place in it.
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all);

  // Of every value over all ranks, sums modulo 2^64; the same number of values on all ranks.
  void all_reduce(Reduction reduction, std::span<int64_t> values);

  // The rank's slice, share(length, rank(), size()), of the sum over all blocks; of no block it is 0, of one block that
  // block. A NaN gives a NaN, whose other bits are not fixed. Holds a slice of every rank's nodes meanwhile, in memory
  // that it keeps.
  void reduce_scatter(const RankSums& sums, std::span<float> slice);
  // The whole sum, length floats, on every rank.
  void all_reduce(const RankSums& sums, std::span<float> sum);
  // The whole, length items, on every rank; of no block its bytes are 0.
  void all_reduce(const RankItems& items, std::span<std::byte> sum);

 protected:
  Ranks(int rank, int size) : rank_(rank), size_(size) {}

  // A message, of 1 byte at least, to or from a peer, another rank.
  struct Outgoing {
    int peer;
    std::span<const std::byte> bytes;
  };
  struct Incoming {
    int peer;
    std::span<std::byte> bytes;
  };
  // What an engine is: sends and takes these, and returns when all are there. The k-th message to a peer is the k-th
  // that it takes from this rank, of the same size. call: its name, for errors.
  virtual void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) = 0;

 private:
  friend class DeviceRanks;  // the same calls on memory of devices: device_ranks.h

  enum class Call : int64_t {
    barrier,
    all_gather,
    sum,
    min,
    max,
    reduce_scatter,
    all_reduce,
    items,
    device_all_gather,
    device_reduce_scatter,
    device_all_reduce,
    device_wait
  };
  // What ranks tell each other before they send anything else. No padding: its bytes are a message.
  struct Intent {
    Call call;
    int64_t count;  // of bytes, values or items
    int64_t blocks;
    IndexRange mine;
    int64_t item_bytes = 0;
  };
  // The payloads of a call: what stays on the rank is copied, the rest are messages.
  struct Transfer {
    struct Copy {
      std::span<const std::byte> from;
      std::byte* to;
    };
    std::vector<Copy> copies;
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
  };
  // Of a sum: this rank's slice of every rank's nodes, in the order of their blocks.
  struct SlicedNodes {
    std::vector<NodeSum> nodes;
    Transfer transfer;
  };
  static const char* name_of(Call call);

  std::vector<Intent> agree(const Intent& mine);
  // Where each rank's bytes begin where they follow one another, and where they end.
  std::vector<size_t> agree_on_offsets(Call call, size_t bytes);
  // Where the ranks' slices of length items begin, in bytes, and where they end.
  std::vector<size_t> slice_offsets(int64_t length, int64_t item_bytes) const;
  Transfer gather(const std::vector<size_t>& offsets, std::span<const std::byte> mine, std::span<std::byte> all) const;
  // Floats, as items; nodes: where the list of them is kept.
  static RankItems items_of(const RankSums& sums, std::vector<const void*>& nodes);
  void require_slice(const RankSums& sums, std::span<float> slice) const;
  // The first node's slice lies in slice, where the sum lands; room(n) is memory for n bytes of the others.
  SlicedNodes slice_nodes(Call call, const RankItems& items, std::span<std::byte> slice,
                          const std::function<std::byte*(size_t)>& room);
  void run(Call call, const Transfer& transfer);
  void add_slices(Call call, const RankItems& items, std::span<std::byte> slice);
  void add_all(Call call, const RankItems& items, std::span<std::byte> sum);

  int rank_, size_;
  std::vector<std::byte> received_;  // slices of nodes
};

}  // namespace duet
