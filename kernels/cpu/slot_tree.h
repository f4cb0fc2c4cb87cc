// The order in which what row tiles say of their columns is added: METHOD.md 0.1's binary tree over the numbers of the
// tiles ("slots") in the whole matrix, 32 rows each, in double. So a part of the rows that is a node of that tree has
// that node's sums, whoever computes them.
#pragma once

#include <algorithm>

#include "kernels/cpu/row_tree.h"
#include "kernels/cpu/sweep.h"

namespace duet::cpu {

// Columns of a work item where slots are added.
inline constexpr int64_t kMergeColumns = 128;

// The slots of a sweep over n rows, and the nodes that wait until their right siblings are there: those of a block's
// columns, whose row blocks come one after another.
class SlotTree {
 public:
  SlotTree() = default;  // unset
  // runs: numbers of a node, each a run over a block's columns.
  SlotTree(Workspace& workspace, const Sweep& sweep, int64_t n, int64_t runs)
      : tile_rows_(sweep.tile_rows()), slots_(ceil_div(n, tile_rows_)), runs_(runs), columns_(sweep.block_columns()) {
    nodes_ = workspace.take<double>(tree_levels(slots_) * runs * columns_);
  }

  TreeStep step(const Block& block, int64_t slot) const { return {block.first_row / tile_rows_ + slot, slots_}; }
  // Of a waiting node, from a block's column on.
  double* node(int level, int64_t run, int64_t column) const {
    return nodes_ + (level * runs_ + run) * columns_ + column;
  }

  // Adds one run of a slot, count numbers from a block's column on. After the last slot `whole` is the sum of all, else
  // it is not touched.
  void add(const TreeStep& step, int64_t run, int64_t column, int64_t count, const float* slot, double* whole) const {
    double* const to = step.last ? whole : node(step.level, run, column);
    bool alone = true;
    step.for_each([&](int level) {
      const double* left = node(level, run, column);
      if (alone)
        for (int64_t k = 0; k < count; ++k) to[k] = left[k] + double{slot[k]};
      else
        for (int64_t k = 0; k < count; ++k) to[k] = left[k] + to[k];
      alone = false;
    });
    if (alone) std::copy_n(slot, count, to);
  }

 private:
  int64_t tile_rows_, slots_, runs_, columns_;
  double* nodes_;
};

}  // namespace duet::cpu
