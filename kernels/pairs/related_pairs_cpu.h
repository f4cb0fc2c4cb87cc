// Two sides' rows, and which pairs of them are one item (METHOD.md 5.6), on the CPU: what tiles read of it
// (formula_tile_cpu.h).
#pragma once

#include "kernels/cpu/softmax_tile.h"
#include "kernels/cpu/sweep.h"
#include "kernels/pairs/formula_tile_cpu.h"

namespace duet::cpu {

// Checked arguments; labels and groups without data: none.
struct RelatedPairs {
  Matrix<const float> a, v;  // n x d, m x d
  Vector<const float> scale;
  Vector<const int32_t> labels_a, labels_v, group_a, group_v;
  bool exclude_own;
  int64_t own_offset;  // row i and column i + own_offset are an own pair
};

class PairNumbers {
 public:
  PairNumbers(Workspace& workspace, int64_t n, int64_t m)
      : row_label_(workspace.take<int32_t>(n)),
        row_group_(workspace.take<int32_t>(n)),
        column_label_(workspace.take<int32_t>(padded(m))),
        column_group_(workspace.take<int32_t>(padded(m))) {}

  void begin(const RelatedPairs& pairs) {
    // Without labels all are labelled, and no two alike.
    number(pairs.labels_a, pairs.a.rows, 0, kNoneOfRow, row_label_);
    number(pairs.labels_v, pairs.v.rows, 1, kNoneOfColumn, column_label_);
    number(pairs.group_a, pairs.a.rows, kNoneOfRow, kNoneOfRow, row_group_);
    number(pairs.group_v, pairs.v.rows, kNoneOfColumn, kNoneOfColumn, column_group_);
  }
  PairTile tile(const RelatedPairs& pairs, const Tile& tile, Matrix<const float> dots) const {
    return {dots,
            pairs.scale[0],
            row_label_ + tile.first_row,
            row_group_ + tile.first_row,
            column_label_ + tile.first_column,
            column_group_ + tile.first_column,
            tile.first_row + pairs.own_offset - tile.first_column,
            pairs.exclude_own};
  }

 private:
  // absent: of all where no numbers were given; none: of a number below 0.
  static void number(Vector<const int32_t> given, int64_t count, int32_t absent, int32_t none, int32_t* to) {
    for (int64_t k = 0; k < count; ++k) to[k] = !given ? absent : given[k] < 0 ? none : given[k];
  }

  int32_t *row_label_, *row_group_, *column_label_, *column_group_;  // n, n, m, m
};

}  // namespace duet::cpu
