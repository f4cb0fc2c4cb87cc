// Plain sums over rows and columns of a sweep, a few at a time, carried from tile to tile in double (CPU).
#pragma once

#include <algorithm>

#include "kernels/cpu/slot_tree.h"
#include "kernels/cpu/softmax_tile.h"
#include "kernels/cpu/sweep.h"
#include "kernels/pairs/formula_tile_cpu.h"

namespace duet::cpu {

class PlainSums {
 public:
  // each: sums of a row, and of a column; with 0 nothing is taken and nothing done.
  PlainSums(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m, int64_t each)
      : n_(n),
        m_(m),
        each_(each),
        tile_rows_(sweep.tile_rows()),
        slot_stride_(padded(sweep.block_columns())),
        rows_(workspace.take<double>(n * each)),
        columns_(workspace.take<double>(m * each)),
        tree_(workspace, sweep, each == 0 ? 0 : n, each),
        thread_(workspace.take<float>(context.threads * each * tile_rows_)),
        slots_(workspace.take<float>(sweep.slots() * each * slot_stride_)) {}

  void begin() {
    std::fill_n(rows_, n_ * each_, 0.0);
    std::fill_n(columns_, m_ * each_, 0.0);
  }
  // Where a tile's sums are written; then it is taken.
  PairSums of_rows(int thread) const { return {thread_ + thread * each_ * tile_rows_, tile_rows_}; }
  PairSums of_columns(const Tile& tile) const {
    return {slots_ + tile.slot * each_ * slot_stride_ + tile.block_column, slot_stride_};
  }
  void take(const Tile& tile, int thread) {
    const PairSums sums = of_rows(thread);
    for (int64_t k = 0; k < each_; ++k)
      for (int64_t r = 0; r < tile.rows; ++r) rows_[(tile.first_row + r) * each_ + k] += sums.sum[k * sums.stride + r];
  }
  // Adds what the tiles of a finished block said of their columns to the tree of the slots, as SoftmaxSweep::merge
  // does.
  void merge(const duet_context& context, const Block& block) {
    if (each_ == 0) return;
    parallel_chunks(context, block.columns, kMergeColumns, [&](int64_t first, int64_t count, int) {
      double sums[kMergeColumns];
      for (int64_t slot = 0; slot < block.slots; ++slot) {
        const TreeStep step = tree_.step(block, slot);
        for (int64_t k = 0; k < each_; ++k) {
          tree_.add(step, k, first, count, slots_ + (slot * each_ + k) * slot_stride_ + first, sums);
          for (int64_t j = 0; step.last && j < count; ++j)
            columns_[(block.first_column + first + j) * each_ + k] = sums[j];
        }
      }
    });
  }

  const double* row(int64_t i) const { return rows_ + i * each_; }
  const double* column(int64_t j) const { return columns_ + j * each_; }

 private:
  int64_t n_, m_, each_, tile_rows_, slot_stride_;
  double *rows_, *columns_;  // n x each, m x each
  SlotTree tree_;
  float *thread_, *slots_;  // threads x each x tile rows, slots x each x block columns
};

}  // namespace duet::cpu
