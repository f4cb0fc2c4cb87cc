// The order in which a sum over the rows of a batch is added (METHOD.md 0.1). The rows form blocks of
// kTreeRows, the last may be shorter. The sum of a block is a chain over its rows, from 0. Blocks are added by a binary
// tree over their numbers: node(0, k) is the sum of block k, node(l, k) = node(l - 1, 2 k) + node(l - 1, 2 k + 1), and
// where the right one has no block, node(l, k) is the left one. All nodes are float32. So the rows of a node alone give
// its bits, wherever they are computed, and a batch in parts gives the bits of the whole.
//
// Blocks come in order. A node waits until its right sibling is there, so at most one node of a level waits, as the
// digits of a binary counter.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/core/ceil_div.h"

namespace duet::cpu {

inline constexpr int64_t kTreeRows = 16;

inline constexpr int64_t tree_blocks(int64_t rows) { return ceil_div(rows, kTreeRows); }

// Levels on which a node may wait, of so many leaves (blocks, or nodes of one level).
inline constexpr int tree_levels(int64_t leaves) {
  return leaves <= 1 ? 0 : std::bit_width(static_cast<uint64_t>(leaves - 1));
}
// Of any batch: memory holds fewer than 2^44 rows.
inline constexpr int kMostTreeLevels = 40;

// What becomes of a leaf, of number `leaf` of `leaves`: the waiting nodes of the levels whose bits are set are added to
// it, the lowest level first. Then the sum waits on `level`, or, after the last leaf, it is the whole sum.
struct TreeStep {
  uint64_t waiting;
  int level;
  bool last;

  constexpr TreeStep(int64_t leaf, int64_t leaves)
      : waiting(static_cast<uint64_t>(leaf)), level(std::countr_one(waiting)), last(leaf + 1 == leaves) {
    if (!last) waiting &= (uint64_t{1} << level) - 1;
  }
  // Calls body(level) for the nodes to be added.
  template <class Body>
  constexpr void for_each(Body&& body) const {
    for (uint64_t rest = waiting; rest != 0; rest &= rest - 1) body(std::countr_zero(rest));
  }
};

// Adds one leaf of `count` elements to a tree; nodes: tree_levels(leaves) x count floats. After the last leaf, sum is
// the whole sum.
inline void add_leaf(const TreeStep& step, float* sum, int64_t count, float* nodes) {
  step.for_each([&](int level) {
    const float* left = nodes + level * count;
    for (int64_t k = 0; k < count; ++k) sum[k] = left[k] + sum[k];
  });
  if (step.last) return;
  float* to = nodes + step.level * count;
  for (int64_t k = 0; k < count; ++k) to[k] = sum[k];
}

}  // namespace duet::cpu
