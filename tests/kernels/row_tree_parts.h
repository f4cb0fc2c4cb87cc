// Sums over rows, taken apart and put together as METHOD.md 0.1 says, written from there and not from
// the kernels: what several ranks that hold rows of one batch compute, and what they exchange.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "tests/support/arrays.h"
#include "tests/support/compare.h"

namespace duet::test {

constexpr int64_t kTreeRows = 16;
// Nothing; a row; about one block, two, three; six and a bit; powers of two, and about those.
constexpr int64_t kTreeRowCounts[] = {0, 1, 15, 16, 17, 31, 32, 33, 48, 97, 112, 128, 500, 512};

inline int64_t tree_blocks(int64_t rows) { return (rows + kTreeRows - 1) / kTreeRows; }
// Levels above the blocks.
inline int tree_depth(int64_t rows) {
  int depth = 0;
  while ((int64_t{1} << depth) < tree_blocks(rows)) ++depth;
  return depth;
}

// How far the sums over rows of the columns of `terms` may be off: the sum of a block is rounded once, and so is every
// node of the tree above, each by half an ulp of what is at most the terms' sizes (METHOD.md 0.1).
inline double column_sums_error(const Doubles& terms, int64_t columns, double factor = 1) {
  Doubles sizes(static_cast<size_t>(columns));
  for (size_t k = 0; k < terms.size(); ++k)
    if (std::isfinite(terms[k])) sizes[k % sizes.size()] += std::abs(factor * terms[k]);
  const int64_t rows = columns == 0 ? 0 : static_cast<int64_t>(terms.size()) / columns;
  return static_cast<double>(1 + tree_depth(rows)) * 6e-8 * largest(sizes);
}

// The arrays of one node, and whether it has a block.
struct Node {
  bool any = false;
  std::vector<Floats> sums;
};

// node(level, k) of `blocks` blocks, from leaf(level, k) where that is known (any is true), else from its children.
template <class Leaf>
Node combined(int level, int64_t k, int64_t blocks, Leaf&& leaf) {
  if ((k << level) >= blocks) return {};
  Node known = leaf(level, k);
  if (known.any) return known;
  REQUIRE(level > 0);
  Node left = combined(level - 1, 2 * k, blocks, leaf);
  const Node right = combined(level - 1, 2 * k + 1, blocks, leaf);
  if (!right.any) return left;
  for (size_t a = 0; a < left.sums.size(); ++a)
    for (int64_t i = 0; i < left.sums[a].rows(); ++i)
      for (int64_t j = 0; j < left.sums[a].columns(); ++j) left.sums[a].at(i, j) += right.sums[a].at(i, j);
  return left;
}

inline bool same_sums(const std::vector<Floats>& a, const std::vector<Floats>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Floats& one, const Floats& other) { return one.same_bits(other); });
}

// sums(first row, rows, threads) computes the arrays of these rows alone. Holds the whole, of `rows` rows, to the tree
// of the nodes of each level, and of the nodes that 2, 3 and 4 ranks hold; on one thread and on two.
template <class Sums>
void check_parts_add_up(int64_t rows, Sums&& sums) {
  const int64_t blocks = tree_blocks(rows);
  const int depth = tree_depth(rows);
  const std::vector<Floats> whole = sums(0, rows, 1);
  CHECK(same_sums(sums(0, rows, 2), whole));
  if (rows == 0) {
    for (const Floats& array : whole)
      for (int64_t i = 0; i < array.rows(); ++i)
        for (int64_t j = 0; j < array.columns(); ++j) CHECK(array.at(i, j) == 0);
    return;
  }
  const auto node = [&](int level, int64_t k, int threads) {
    const int64_t first = (k << level) * kTreeRows, end = std::min(rows, ((k + 1) << level) * kTreeRows);
    return Node{true, sums(first, end - first, threads)};
  };
  for (int of = 0; of <= depth; ++of) {
    CAPTURE(of);
    const Node root = combined(
        depth, 0, blocks, [&](int level, int64_t k) { return level == of ? node(level, k, 1 + level % 2) : Node{}; });
    CHECK(same_sums(root.sums, whole));
  }
  for (const int64_t ranks : {2, 3, 4}) {
    CAPTURE(ranks);
    // A node is computed by the rank whose range holds all of its blocks.
    const Node root = combined(depth, 0, blocks, [&](int level, int64_t k) {
      const int64_t first = k << level, end = std::min(blocks, (k + 1) << level);
      for (int64_t r = 0; r < ranks; ++r)
        if (first >= blocks * r / ranks && end <= blocks * (r + 1) / ranks) return node(level, k, 1);
      return Node{};
    });
    CHECK(same_sums(root.sums, whole));
  }
}

}  // namespace duet::test
