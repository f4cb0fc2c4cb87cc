// The agreement target What over a sweep: forward, the sums over each row's and column's positives; backward, the part
// of the gradient that comes from them.
#pragma once

#include "kernels/core/own_pair.h"
#include "kernels/cpu/agreement.h"
#include "kernels/cpu/slot_tree.h"

namespace duet::cpu {

// Sums over positives, own pairs left out, carried in double; cross as target_sums has it.
using TargetSum = OtherPositives;

class TargetSweep {
 public:
  // classes: their number. With 0 and no groups there is nothing to sum, because own pairs are the only positives.
  TargetSweep(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m,
              int64_t classes, bool groups = false);

  void begin(const duet_context& context, const Agreement& agreement, Vector<const float> trust_a,
             Vector<const float> trust_v);
  // weights (tile.rows x tile.columns) = the agreement, as agreement_tile has it.
  void fill(const Tile& tile, Matrix<float> weights) const { agreement_tile(agreement_, packed_, tile, weights); }
  void take(const Tile& tile, int thread, Matrix<const float> dots, float scale, Entropy entropy);
  // Adds the column sums of a finished block's tiles to the tree of the slots, as SoftmaxSweep::merge does.
  void merge(const duet_context& context, const Block& block);

  const TargetSum& row(int64_t i) const { return rows_[i]; }
  const TargetSum& column(int64_t j) const { return columns_[j]; }

  // Backward: d loss/d score of a positive is -factor pos; set every row and column before the sweep.
  void set_row(int64_t i, float factor) { row_factor_[i] = factor; }
  void set_column(int64_t j, float factor) { column_factor_[j] = factor; }
  void subtract(const Tile& tile, int thread, Matrix<float> gradient) const;

 private:
  Matrix<float> weights(const Tile& tile, int thread) const {
    return {tiles_ + thread * tile_rows_ * stride_, tile.rows, tile.columns, stride_};
  }
  TargetSums column_sums(const Tile& tile) const;
  OneItems one_items() const { return agreement_.has_groups() ? OneItems::yes : OneItems::no; }

  Agreement agreement_;
  PackedRows packed_;  // classes of the columns
  int64_t n_, m_, tile_rows_, stride_, slot_stride_;
  bool classes_, positives_;  // positives_: there are such beside own pairs
  TargetSum *rows_, *columns_;
  SlotTree tree_;  // of weight, cross
  float *row_factor_, *column_factor_;
  Trust row_trust_{}, column_trust_{};
  float* storage_ = nullptr;          // of packed_
  float* tiles_ = nullptr;            // threads x tile
  float* thread_sums_ = nullptr;      // threads x 2 x tile rows
  float *slot_weight_, *slot_cross_;  // slots x block columns
};

}  // namespace duet::cpu
