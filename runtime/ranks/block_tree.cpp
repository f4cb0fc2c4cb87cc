#include "runtime/ranks/block_tree.h"

#include <algorithm>
#include <bit>

#include "kernels/core/error.h"

namespace duet {

namespace {

// Of the smallest full tree that has so many blocks; 1 for none.
int64_t full_width(int64_t blocks) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(blocks))); }

// Walks down to the nodes given, and adds on the way up.
struct Adding {
  std::span<const NodeSum> nodes;
  int64_t blocks;
  const AddNode* add;  // null: nothing is added

  size_t next = 0;  // of the nodes

  // The node of width blocks from first on.
  void* node(int64_t first, int64_t width) {
    const IndexRange range{first, std::min(first + width, blocks)};
    if (next < nodes.size() && nodes[next].blocks == range) return nodes[next++].values;
    require(width > 1, "nodes: expected nodes of the tree over ", blocks, " blocks, got none that has block ", first);
    const int64_t half = width / 2;
    void* const left = node(first, half);
    if (first + half >= blocks) return left;
    const void* const right = node(first + half, half);
    if (add) (*add)(left, right);
    return left;
  }
};

}  // namespace

IndexRange rows_of(IndexRange blocks, int64_t rows) {
  return {std::min(blocks.first * kBlockRows, rows), std::min(blocks.last * kBlockRows, rows)};
}

std::vector<IndexRange> block_nodes(IndexRange part, int64_t blocks) {
  require(0 <= part.first && part.first <= part.last && part.last <= blocks, "part: expected blocks of 0 to ", blocks,
          ", got ", part.first, " to ", part.last);
  std::vector<IndexRange> nodes;
  for (int64_t first = part.first; first < part.last; first = nodes.back().last) {
    int64_t width = 1;
    while (width < blocks && first % (2 * width) == 0 && std::min(first + 2 * width, blocks) <= part.last) width *= 2;
    nodes.push_back({first, std::min(first + width, blocks)});
  }
  return nodes;
}

void add_nodes(std::span<const NodeSum> nodes, int64_t blocks, const AddNode& add) {
  for (const AddNode* const adds : {static_cast<const AddNode*>(nullptr), &add}) {
    Adding adding{nodes, blocks, adds};
    if (blocks > 0) adding.node(0, full_width(blocks));
    require(adding.next == nodes.size(), "nodes: expected ", adding.next, " that cover ", blocks, " blocks, got ",
            nodes.size());
  }
}

void add_floats(void* left, const void* right, int64_t count) {
  auto* const to = static_cast<float*>(left);
  const auto* const from = static_cast<const float*>(right);
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

void add_nodes(std::span<const NodeSum> nodes, int64_t blocks, int64_t length) {
  add_nodes(nodes, blocks, [length](void* left, const void* right) { add_floats(left, right, length); });
}

}  // namespace duet
