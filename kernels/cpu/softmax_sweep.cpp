#include "kernels/cpu/softmax_sweep.h"

#include <algorithm>

namespace duet::cpu {
namespace {
constexpr int64_t kMergeColumns = 128;  // of a work item in merge
}  // namespace

SoftmaxSweep::SoftmaxSweep(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m)
    : n_(n),
      m_(m),
      tile_rows_(sweep.tile_rows()),
      column_tiles_(sweep.column_tiles()),
      slot_stride_(padded(sweep.block_columns())) {
  rows_ = workspace.take<LogSum>(n);
  columns_ = workspace.take<LogSum>(m);
  thread_sums_ = workspace.take<float>(context.threads * 3 * tile_rows_);
  slot_shift_ = workspace.take<float>(sweep.slots() * slot_stride_);
  slot_sum_ = workspace.take<float>(sweep.slots() * slot_stride_);
  slot_cross_ = workspace.take<float>(sweep.slots() * slot_stride_);
  slot_centre_ = workspace.take<double>(sweep.slots() * column_tiles_);
}

void SoftmaxSweep::begin(float bound, float scale) {
  bounded_ = bound <= kBoundedScore;
  scale_ = scale;
  const LogSum none{bounded_ ? 0 : LogSum{}.reference};  // bounded: every shift is 0
  std::fill_n(rows_, n_, none);
  std::fill_n(columns_, m_, none);
}

ExpSums SoftmaxSweep::row_sums(int thread) const {
  float* at = thread_sums_ + thread * 3 * tile_rows_;
  return {at, at + tile_rows_, at + 2 * tile_rows_};
}

ExpSums SoftmaxSweep::column_sums(const Tile& tile) const {
  const int64_t at = tile.slot * slot_stride_ + tile.block_column;
  return {slot_shift_ + at, slot_sum_ + at, slot_cross_ + at};
}

void SoftmaxSweep::add_rows(const Tile& tile, ExpSums sums, float centre, bool cross) {
  if (bounded_) {
    for (int64_t r = 0; r < tile.rows; ++r) rows_[tile.first_row + r].add(sums.sum[r], cross ? sums.cross[r] : 0);
    return;
  }
  ShiftFactor factor;
  for (int64_t r = 0; r < tile.rows; ++r) {
    const double shift = double{scale_} * sums.shift[r];
    // e^x ((x + shift) - (y + centre)), x and y being what the tile's cross sum holds
    const double tile_cross = cross ? sums.cross[r] + (shift - centre) * sums.sum[r] : 0;
    rows_[tile.first_row + r].add(shift, sums.sum[r], tile_cross, factor);
  }
}

float SoftmaxSweep::take(const Tile& tile, int thread, Matrix<const float> dots) {
  const ExpSums rows = row_sums(thread);
  if (bounded_) {
    bounded_exp_sums(dots, scale_, rows, column_sums(tile));
    add_rows(tile, rows, 0, false);
    return 0;
  }
  const float largest = exp_sums(dots, scale_, rows, column_sums(tile));
  add_rows(tile, rows, 0, false);
  return largest;
}

void SoftmaxSweep::take_cross(const Tile& tile, int thread, Matrix<const float> dots, Matrix<const float> other,
                              float other_scale, float centre) {
  const ExpSums rows = row_sums(thread);
  if (bounded_) {
    centre = 0;
    bounded_exp_cross_sums(dots, scale_, other, other_scale, rows, column_sums(tile));
  } else {
    exp_cross_sums(dots, scale_, other, other_scale, centre, rows, column_sums(tile));
  }
  add_rows(tile, rows, centre, true);
  slot_centre_[tile.slot * column_tiles_ + tile.block_column / Sweep::kTileColumns] = centre;
}

void SoftmaxSweep::merge(const duet_context& context, const Block& block, bool cross) {
  parallel_chunks(context, block.columns, kMergeColumns, [&](int64_t first, int64_t count, int) {
    ShiftFactor factor;
    for (int64_t slot = 0; slot < block.slots; ++slot) {
      const int64_t at = slot * slot_stride_;
      if (bounded_) {
        for (int64_t j = first; j < first + count; ++j)
          columns_[block.first_column + j].add(slot_sum_[at + j], cross ? slot_cross_[at + j] : 0);
        continue;
      }
      for (int64_t j = first; j < first + count; ++j) {
        const double shift = double{scale_} * slot_shift_[at + j], sum = slot_sum_[at + j];
        const double tile_cross =
            cross ? slot_cross_[at + j] + (shift - slot_centre_[slot * column_tiles_ + j / Sweep::kTileColumns]) * sum
                  : 0;
        columns_[block.first_column + j].add(shift, sum, tile_cross, factor);
      }
    }
  });
}

float OwnScores::begin(const Agreement& pairs, float bound, float scale) {
  // Nothing beside the e^-40 of a bounded score, and still inside what its exponential takes.
  constexpr float kLeftOutBounded = -86;
  const bool bounded = bound <= kBoundedScore;
  pairs_ = pairs;
  offset_ = pairs.first_row - pairs.first_column;
  scale_ = scale;
  shrink_ = 1;
  if (!pairs.paired) return scale_;
  // Of a smaller scale no dot makes the score that is left out: the dots take over a power of 2, which costs them no
  // digit, or all of a scale of 0.
  const float least = bounded ? 1e-30f : 1.0f;
  if (std::abs(scale) < least) {
    int exponent = 0;
    const float digits = std::frexp(scale, &exponent);
    scale_ = scale == 0 ? 1 : 2 * digits;
    shrink_ = scale == 0 ? 0 : std::ldexp(1.0f, exponent - 1);
  }
  nothing_ = (bounded ? kLeftOutBounded : kLeftOut) / scale_;
  return scale_;
}

void OwnScores::leave_out(const Tile& tile, Matrix<float> dots) const {
  for (int64_t r = 0; shrink_ != 1 && r < tile.rows; ++r)
    for (int64_t c = 0; c < tile.columns; ++c) dots.row(r)[c] *= shrink_;
  for_each_own_pair(pairs_, tile, [&](int64_t r, int64_t c) {
    dots_[tile.first_row + r] = dots.row(r)[c];
    dots.row(r)[c] = nothing_;
  });
}

OwnAndOthers OwnScores::parts(int64_t partner, int64_t partners, int64_t row, const LogSum& sum) const {
  if (!has_own(partner, partners)) return {0, sum.log(), false};
  const double others = partners == 1 ? -HUGE_VAL : sum.log();
  if (pairs_.excluded) return {0, others, false};
  return {double{scale_} * dots_[row], others, true};
}

double OwnScores::log_sum_of_others(int64_t partner, int64_t partners, const LogSum& sum) const {
  return has_own(partner, partners) ? parts(partner, partners, partner, sum).others : sum.log();
}

SoftmaxBackward::SoftmaxBackward(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n,
                                 int64_t m)
    : factors_size_(padded(sweep.tile_rows()) + padded(sweep.tile_columns())) {
  row_log_sum_ = workspace.take<float>(padded(n));
  row_weight_ = workspace.take<float>(padded(n));
  column_log_sum_ = workspace.take<float>(padded(m));
  column_weight_ = workspace.take<float>(padded(m));
  factors_ = workspace.take<float>(context.threads * factors_size_);
}

void SoftmaxBackward::add(const Tile& tile, int thread, Matrix<const float> dots, float scale, Accumulate accumulate,
                          Matrix<float> gradient) const {
  const SoftmaxWeights rows{row_log_sum_ + tile.first_row, has_rows_ ? row_weight_ + tile.first_row : nullptr};
  const SoftmaxWeights columns{column_log_sum_ + tile.first_column,
                               has_columns_ ? column_weight_ + tile.first_column : nullptr};
  softmax_gradient(dots, scale, rows, columns, accumulate, factors_ + thread * factors_size_, gradient);
}

ScoreGradient::ScoreGradient(Workspace& workspace, const Sweep& sweep)
    : block_(workspace.take_matrix<float>(sweep.block_rows(), padded(sweep.block_columns()) + kLanePadding)),
      scale_(workspace, sweep) {}

}  // namespace duet::cpu
