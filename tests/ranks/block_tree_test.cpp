#include "runtime/ranks/block_tree.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/core/error.h"
#include "tests/ranks/tree_sum.h"

using namespace duet;
using namespace duet::test;

namespace {

constexpr size_t kCounts[] = {0, 1, 2, 3, 5, 7, 8, 31, 32, 33, 257};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// By the nodes of parts, which cover all blocks in order.
std::vector<float> sum_by_nodes(const Blocks& blocks, const std::vector<IndexRange>& parts, size_t length) {
  const auto count = static_cast<int64_t>(blocks.size());
  std::vector<std::vector<float>> arrays;
  std::vector<IndexRange> ranges;
  for (const IndexRange& part : parts)
    for (const IndexRange& node : block_nodes(part, count)) {
      ranges.push_back(node);
      arrays.push_back(tree_sum(blocks, static_cast<size_t>(node.first), static_cast<size_t>(node.last)));
    }
  std::vector<NodeSum> nodes;
  for (size_t n = 0; n < ranges.size(); ++n) nodes.push_back({ranges[n], arrays[n].data()});
  add_nodes(nodes, count, static_cast<int64_t>(length));
  return arrays.empty() ? std::vector<float>(length) : arrays[0];
}

void refused(const std::vector<IndexRange>& ranges, int64_t blocks) {
  std::vector<float> values(ranges.size(), 3);
  std::vector<NodeSum> nodes;
  for (size_t n = 0; n < ranges.size(); ++n) nodes.push_back({ranges[n], &values[n]});
  CHECK_THROWS_WITH_AS(add_nodes(nodes, blocks, 1), doctest::Contains("nodes: expected"), Error);
  for (const float value : values) CHECK(value == 3);  // nothing was added
}

}  // namespace

TEST_CASE("the nodes of every part are the fewest aligned ranges that cover it") {
  for (const int64_t blocks : {1, 2, 3, 5, 7, 8, 31, 32, 33})
    for (int64_t first = 0; first <= blocks; ++first)
      for (int64_t last = first; last <= blocks; ++last) {
        const std::vector<IndexRange> nodes = block_nodes({first, last}, blocks);
        int64_t at = first;
        for (size_t n = 0; n < nodes.size(); ++n) {
          CHECK(nodes[n].first == at);
          CHECK(nodes[n].last > at);
          at = nodes[n].last;
          int64_t width = 1;
          while (width < nodes[n].size()) width *= 2;
          CHECK(nodes[n].first % width == 0);
          CHECK((nodes[n].size() == width || nodes[n].last == blocks));
          // Two that could be one: a left child and its sibling.
          if (n == 0) continue;
          const int64_t left = nodes[n - 1].size();
          const bool siblings = (left & (left - 1)) == 0 && nodes[n - 1].first % (2 * left) == 0 &&
                                (nodes[n].size() == left || nodes[n].last == blocks);
          CHECK_FALSE(siblings);
        }
        CHECK(at == last);
      }
  CHECK(block_nodes({0, 7}, 7) == std::vector<IndexRange>{{0, 7}});
  CHECK(block_nodes({4, 7}, 7) == std::vector<IndexRange>{{4, 7}});
  CHECK(block_nodes({4, 7}, 8) == std::vector<IndexRange>{{4, 6}, {6, 7}});
  CHECK(block_nodes({1, 7}, 8) == std::vector<IndexRange>{{1, 2}, {2, 4}, {4, 6}, {6, 7}});
  CHECK(block_nodes({0, 0}, 0).empty());
  CHECK(block_nodes({3, 3}, 7).empty());
}

TEST_CASE("nodes add up to the bits of the tree, however the blocks are parted, and not to those of a chain") {
  const size_t length = 37;
  int differs = 0;
  for (const size_t count : kCounts) {
    CAPTURE(count);
    const Blocks blocks = draw_blocks(count, length, count + 1);
    const std::vector<float> expected = count == 0 ? std::vector<float>(length) : tree_sum(blocks, 0, count);
    for (int ranks = 1; ranks <= 5; ++ranks) {
      CAPTURE(ranks);
      std::vector<IndexRange> parts;
      for (int rank = 0; rank < ranks; ++rank) parts.push_back(share(static_cast<int64_t>(count), rank, ranks));
      CHECK(same_bits(sum_by_nodes(blocks, parts, length), expected));
    }
    std::vector<IndexRange> single;
    for (size_t b = 0; b < count; ++b) single.push_back({static_cast<int64_t>(b), static_cast<int64_t>(b + 1)});
    CHECK(same_bits(sum_by_nodes(blocks, single, length), expected));

    std::vector<float> chain(length);
    for (const std::vector<float>& block : blocks)
      for (size_t i = 0; i < length; ++i) chain[i] += block[i];
    differs += !same_bits(chain, expected);
  }
  CHECK(differs >= 5);  // of the counts from 5 on, 7 of them
}

TEST_CASE("a sole block keeps its bits, NaN and infinities pass through") {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> sole = sum_by_nodes({{-0.0f, inf}}, {{0, 1}}, 2);
  CHECK(std::signbit(sole[0]));
  CHECK(sole[1] == inf);
  const std::vector<float> three =
      sum_by_nodes({{-0.0f, inf, 1, inf}, {-0.0f, 1, std::nanf(""), -inf}, {-0.0f, 2, 3, 4}}, {{0, 2}, {2, 3}}, 4);
  CHECK(std::signbit(three[0]));
  CHECK(three[1] == inf);
  CHECK(std::isnan(three[2]));
  CHECK(std::isnan(three[3]));
  // A missing child adds no +0: blocks 4 and 5 of 6 are a node of width 4 whose right child has no block.
  const std::vector<float> six = sum_by_nodes(Blocks(6, {-0.0f}), {{0, 4}, {4, 5}, {5, 6}}, 1);
  CHECK(std::signbit(six[0]));
}

TEST_CASE("what is no cover by nodes is refused before anything is added") {
  refused({}, 1);
  refused({{0, 1}}, 0);
  refused({{0, 1}}, 2);                  // too few
  refused({{0, 2}, {2, 3}}, 2);          // too many
  refused({{0, 1}, {1, 3}}, 3);          // not aligned
  refused({{0, 3}, {3, 4}}, 4);          // a part of a node
  refused({{2, 4}, {0, 2}}, 4);          // another order
  refused({{0, 2}, {0, 2}, {2, 4}}, 4);  // twice
  CHECK_THROWS_AS(block_nodes({-1, 1}, 2), Error);
  CHECK_THROWS_AS(block_nodes({2, 1}, 2), Error);
  CHECK_THROWS_WITH_AS(block_nodes({0, 3}, 2), "part: expected blocks of 0 to 2, got 0 to 3", Error);
}

TEST_CASE("shares of blocks and their rows") {
  CHECK(block_count(0) == 0);
  CHECK(block_count(1) == 1);
  CHECK(block_count(16) == 1);
  CHECK(block_count(17) == 2);
  for (const int64_t rows : {0, 1, 15, 16, 17, 100, 4096, 4097})
    for (int ranks = 1; ranks <= 7; ++ranks) {
      int64_t at = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const IndexRange blocks = share(block_count(rows), rank, ranks);
        CHECK(std::abs(blocks.size() - block_count(rows) / ranks) <= 1);
        const IndexRange own = rows_of(blocks, rows);
        CHECK(own.first == at);
        CHECK((own.first % kBlockRows == 0 || own.size() == 0));
        at = own.last;
      }
      CHECK(at == rows);
    }
  CHECK(share(2, 0, 4) == IndexRange{0, 0});
  CHECK(share(2, 1, 4) == IndexRange{0, 1});
}
