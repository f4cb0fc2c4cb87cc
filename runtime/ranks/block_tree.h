// Sums over the rows of a global batch whose bits do not depend on who holds which rows: blocks of 16 rows, added by a
// binary tree over their indices. node(0, k) is block k, node(l, k) = node(l - 1, 2 k) + node(l - 1, 2 k + 1); a right
// child that no block belongs to is left out, so that it adds no zero. The sum is the smallest node of all blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace duet {

inline constexpr int64_t kBlockRows = 16;

// Indices first to last - 1; last >= first >= 0.
struct IndexRange {
  int64_t first = 0, last = 0;
  int64_t size() const { return last - first; }
  bool operator==(const IndexRange&) const = default;
};

// Of a batch of so many rows; the last block may have fewer than kBlockRows. rows >= 0.
inline int64_t block_count(int64_t rows) { return (rows + kBlockRows - 1) / kBlockRows; }

// The part of count things that rank has: [floor(count rank / ranks), floor(count (rank + 1) / ranks)). Sizes differ by
// at most 1, and where count < ranks some are 0. count * ranks < 2^63.
inline IndexRange share(int64_t count, int rank, int ranks) {
  return {count * rank / ranks, count * (rank + 1) / ranks};
}

// The rows of a batch of rows rows that these blocks of it hold.
IndexRange rows_of(IndexRange blocks, int64_t rows);

// The fewest nodes of the tree over blocks blocks that cover part, in order of their blocks; each is the range of
// blocks under it. None for an empty part; at most 2 log2(part.size()) + 2. Throws DUET_STATUS_INVALID_ARGUMENT unless
// 0 <= part.first <= part.last <= blocks.
std::vector<IndexRange> block_nodes(IndexRange part, int64_t blocks);

// A node's sum: floats, or whatever add adds.
struct NodeSum {
  IndexRange blocks;
  void* values;
};
// Adds what the right node holds to what the left one does.
using AddNode = std::function<void(void* left, const void* right)>;

// Adds nodes, which cover blocks 0 to blocks - 1 in order, by the tree. What they hold is overwritten; the sum is then
// in nodes[0].values, of no node nowhere. Throws DUET_STATUS_INVALID_ARGUMENT, before it adds anything, where the nodes
// are not nodes of that tree or do not cover it.
void add_nodes(std::span<const NodeSum> nodes, int64_t blocks, const AddNode& add);
void add_floats(void* left, const void* right, int64_t count);
// Of length floats a node.
void add_nodes(std::span<const NodeSum> nodes, int64_t blocks, int64_t length);

}  // namespace duet
