#include "kernels/cpu/target_sweep.h"

#include <algorithm>

#include "kernels/cpu/softmax_tile.h"

namespace duet::cpu {

TargetSweep::TargetSweep(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m,
                         int64_t classes, bool groups)
    : n_(n),
      m_(m),
      tile_rows_(sweep.tile_rows()),
      stride_(padded(sweep.tile_columns())),
      slot_stride_(padded(sweep.block_columns())),
      classes_(classes > 0),
      positives_(classes_ || groups) {
  rows_ = workspace.take<TargetSum>(n);
  columns_ = workspace.take<TargetSum>(m);
  row_factor_ = workspace.take<float>(n);
  column_factor_ = workspace.take<float>(padded(m));
  slot_weight_ = workspace.take<float>(sweep.slots() * slot_stride_);
  slot_cross_ = workspace.take<float>(sweep.slots() * slot_stride_);
  if (!positives_) return;
  tree_ = SlotTree(workspace, sweep, n, 2);
  if (classes_) storage_ = workspace.take<float>(packed_size(m, classes));
  row_trust_ = {workspace.take<float>(n), workspace.take<float>(n)};
  column_trust_ = {workspace.take<float>(padded(m)), workspace.take<float>(padded(m))};
  tiles_ = workspace.take<float>(context.threads * tile_rows_ * stride_);
  thread_sums_ = workspace.take<float>(context.threads * 2 * tile_rows_);
}

void TargetSweep::begin(const duet_context& context, const Agreement& agreement, Vector<const float> trust_a,
                        Vector<const float> trust_v) {
  agreement_ = agreement;
  std::fill_n(rows_, n_, TargetSum{0, 0});
  std::fill_n(columns_, m_, TargetSum{0, 0});
  packed_ = {};
  if (!positives_) return;
  if (classes_) packed_ = pack_rows(context, agreement.class_v, storage_);
  Trust::fill(trust_a, n_, row_trust_);
  Trust::fill(trust_v, m_, column_trust_);
}

TargetSums TargetSweep::column_sums(const Tile& tile) const {
  const int64_t at = tile.slot * slot_stride_ + tile.block_column;
  return {slot_weight_ + at, slot_cross_ + at};
}

void TargetSweep::take(const Tile& tile, int thread, Matrix<const float> dots, float scale, Entropy entropy) {
  if (!positives_) return;
  const Matrix<float> w = weights(tile, thread);
  fill(tile, w);
  float* sums = thread_sums_ + thread * 2 * tile_rows_;
  const TargetSums rows{sums, sums + tile_rows_};
  target_sums(w, one_items(), dots, scale, entropy, row_trust_.from(tile.first_row),
              column_trust_.from(tile.first_column), rows, column_sums(tile));
  for (int64_t r = 0; r < tile.rows; ++r) {
    rows_[tile.first_row + r].weight += rows.weight[r];
    rows_[tile.first_row + r].cross += rows.cross[r];
  }
}

void TargetSweep::merge(const duet_context& context, const Block& block) {
  if (!positives_) return;
  parallel_chunks(context, block.columns, kMergeColumns, [&](int64_t first, int64_t count, int) {
    TargetSum* const to = columns_ + block.first_column + first;
    double sums[kMergeColumns];
    for (int64_t slot = 0; slot < block.slots; ++slot) {
      const TreeStep step = tree_.step(block, slot);
      const auto add = [&](const float* from, int64_t run, double TargetSum::*where) {
        tree_.add(step, run, first, count, from + slot * slot_stride_ + first, sums);
        for (int64_t j = 0; step.last && j < count; ++j) to[j].*where = sums[j];
      };
      add(slot_weight_, 0, &TargetSum::weight);
      add(slot_cross_, 1, &TargetSum::cross);
    }
  });
}

void TargetSweep::subtract(const Tile& tile, int thread, Matrix<float> gradient) const {
  const float *row_factor = row_factor_ + tile.first_row, *column_factor = column_factor_ + tile.first_column;
  if (positives_) {
    const Matrix<float> w = weights(tile, thread);
    fill(tile, w);
    target_gradient(w, one_items(), row_trust_.from(tile.first_row), column_trust_.from(tile.first_column), row_factor,
                    column_factor, gradient);
  }
  if (agreement_.excluded) return;
  for_each_own_pair(agreement_, tile,
                    [&](int64_t r, int64_t c) { gradient.row(r)[c] -= row_factor[r] + column_factor[c]; });
}

}  // namespace duet::cpu
