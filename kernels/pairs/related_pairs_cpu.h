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
  int64_t own_offset;    // row i and column i + own_offset are an own pair
  LabelSets label_sets;  // with labels; empty: a label is a class
};

class PairNumbers {
 public:
  // Of as many rows as pairs has.
  PairNumbers(Workspace& workspace, const duet_context& context, const Sweep& sweep, const RelatedPairs& pairs)
      : row_label_(workspace.take<int32_t>(pairs.a.rows)),
        row_group_(workspace.take<int32_t>(pairs.a.rows)),
        column_label_(workspace.take<int32_t>(padded(pairs.v.rows))),
        column_group_(workspace.take<int32_t>(padded(pairs.v.rows))),
        tile_rows_(sweep.tile_rows()),
        alike_(workspace.take_matrix<int32_t>(pairs.label_sets ? context.threads * tile_rows_ : 0,
                                              padded(sweep.tile_columns()))) {}

  void begin(const RelatedPairs& pairs) {
    // Without labels all are labelled, and no two alike.
    number(pairs.labels_a, pairs.a.rows, 0, kNoneOfRow, row_label_);
    number(pairs.labels_v, pairs.v.rows, 1, kNoneOfColumn, column_label_);
    number(pairs.group_a, pairs.a.rows, kNoneOfRow, kNoneOfRow, row_group_);
    number(pairs.group_v, pairs.v.rows, kNoneOfColumn, kNoneOfColumn, column_group_);
  }
  PairTile tile(const RelatedPairs& pairs, const Tile& tile, int thread, Matrix<const float> dots) const {
    if (pairs.label_sets) return tile_of_sets(pairs, tile, thread, dots);
    return {dots,
            pairs.scale[0],
            row_label_ + tile.first_row,
            row_group_ + tile.first_row,
            column_label_ + tile.first_column,
            column_group_ + tile.first_column,
            0,
            tile.first_row + pairs.own_offset - tile.first_column,
            pairs.exclude_own};
  }

 private:
  // Each row's columns have groups of their own: that of the row where they are alike, by sets or by group, else none.
  PairTile tile_of_sets(const RelatedPairs& pairs, const Tile& tile, int thread, Matrix<const float> dots) const {
    const Matrix<int32_t> alike = alike_.part(thread * tile_rows_, 0, tile.rows, tile.columns);
    for (int64_t r = 0; r < tile.rows; ++r)
      for (int64_t c = 0; c < tile.columns; ++c) {
        const int64_t i = tile.first_row + r, j = tile.first_column + c;
        const bool positive =
            pairs.label_sets.alike(row_label_[i], column_label_[j]) || row_group_[i] == column_group_[j];
        alike.row(r)[c] = positive ? row_group_[i] : kNoneOfColumn;
      }
    return {dots,
            pairs.scale[0],
            row_label_ + tile.first_row,
            row_group_ + tile.first_row,
            column_label_ + tile.first_column,
            alike.data,
            alike.stride,
            tile.first_row + pairs.own_offset - tile.first_column,
            pairs.exclude_own};
  }

  // absent: of all where no numbers were given; none: of a number below 0.
  static void number(Vector<const int32_t> given, int64_t count, int32_t absent, int32_t none, int32_t* to) {
    for (int64_t k = 0; k < count; ++k) to[k] = !given ? absent : given[k] < 0 ? none : given[k];
  }

  int32_t *row_label_, *row_group_, *column_label_, *column_group_;  // n, n, m, m
  int64_t tile_rows_;
  Matrix<int32_t> alike_;  // with sets: a tile for each thread
};

}  // namespace duet::cpu
