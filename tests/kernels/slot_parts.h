// A batch of pairs in parts of rows, as several ranks hold it, and the sums of its columns put together as METHOD.md
// 0.1 says: the tree over slots of 32 rows, written from there and not from the kernels.
#pragma once

#include <bit>
#include <optional>

#include "tests/support/arrays.h"

namespace duet::test {

constexpr int64_t kSlotRows = 32;
using Sums = Array<double>;

// A row; about one slot; two; three and a bit; seven; more than one block of columns.
constexpr int64_t kSlotRowCounts[] = {1, 31, 32, 33, 64, 97, 200, 513};

// The sums of all rows, from node(first row, rows) of the largest nodes within a rank's slots, and merge(left, right),
// which adds right to left. Ranks hold slots in order, numbers that differ by 1 at most; with as many ranks as slots
// every slot is a node.
template <class Node, class Merge>
Sums sums_of_parts(int64_t rows, int64_t ranks, Node&& node, Merge&& merge) {
  const int64_t slots = (rows + kSlotRows - 1) / kSlotRows;
  const auto sums_of = [&](auto&& self, int level, int64_t k) -> std::optional<Sums> {
    const int64_t first = k << level, end = std::min(slots, (k + 1) << level);
    if (first >= slots) return std::nullopt;
    for (int64_t r = 0; r < ranks; ++r)
      if (first >= slots * r / ranks && end <= slots * (r + 1) / ranks)
        return node(first * kSlotRows, std::min(rows, end * kSlotRows) - first * kSlotRows);
    REQUIRE(level > 0);
    std::optional<Sums> left = self(self, level - 1, 2 * k);
    std::optional<Sums> right = self(self, level - 1, 2 * k + 1);
    if (right) merge(*left, *right);
    return left;
  };
  return *sums_of(sums_of, std::bit_width(static_cast<uint64_t>(slots - 1)), 0);
}

// The numbers of ranks that a test goes through: 1 to 4, and one a slot.
inline std::vector<int64_t> rank_counts(int64_t rows) { return {1, 2, 3, 4, (rows + kSlotRows - 1) / kSlotRows}; }

// Whether rows first to first + count - 1 of whole have the bits of part; one NaN is as good as another.
inline bool same_rows(const Floats& whole, int64_t first, const Floats& part) {
  for (int64_t i = 0; i < part.rows(); ++i)
    for (int64_t j = 0; j < part.columns(); ++j) {
      const float a = whole.at(first + i, j), b = part.at(i, j);
      if (std::bit_cast<uint32_t>(a) != std::bit_cast<uint32_t>(b) && !(std::isnan(a) && std::isnan(b))) return false;
    }
  return true;
}

inline duet_const_vector part_of(duet_const_vector view, int64_t first, int64_t size) {
  if (view.data == nullptr) return view;
  view.data = static_cast<const char*>(view.data) + first * 4, view.size = size;  // float32 or int32
  return view;
}
inline duet_const_matrix part_of(duet_const_matrix view, int64_t first, int64_t rows) {
  if (view.data == nullptr) return view;
  view.data = static_cast<const char*>(view.data) + first * view.row_stride * 4, view.rows = rows;
  return view;
}

}  // namespace duet::test
