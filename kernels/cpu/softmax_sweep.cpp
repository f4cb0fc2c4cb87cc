#include "kernels/cpu/softmax_sweep.h"

#include <algorithm>

namespace duet::cpu {

float score_bound(const duet_context& context, float scale, Matrix<const float> a, Matrix<const float> v) {
  constexpr float kUnit = 1.0012f;  // at least norm_bound() of rows of 1.0001
  const auto bound = [&](Matrix<const float> rows) {
    const float given = norm_bound(context, rows);
    return given < kUnit ? kUnit : given;  // NaN stays
  };
  return std::abs(scale) * bound(a) * bound(v);
}

SoftmaxSweep::SoftmaxSweep(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m)
    : n_(n),
      m_(m),
      tile_rows_(sweep.tile_rows()),
      column_tiles_(sweep.column_tiles()),
      slot_stride_(padded(sweep.block_columns())) {
  rows_ = workspace.take<LogSum>(n);
  columns_ = workspace.take<LogSum>(m);
  tree_ = SlotTree(workspace, sweep, n, kRuns);
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
    LogSum* const to = columns_ + block.first_column + first;
    for (int64_t slot = 0; slot < block.slots; ++slot) {
      const TreeStep step = tree_.step(block, slot);
      if (bounded_)
        merge_bounded(step, slot, first, count, cross, to);
      else
        merge_shifted(step, slot, first, count, cross, to);
    }
  });
}

void SoftmaxSweep::merge_bounded(const TreeStep& step, int64_t slot, int64_t first, int64_t count, bool cross,
                                 LogSum* to) const {
  double sums[kMergeColumns];
  const auto add = [&](const float* from, int64_t run, double LogSum::*where) {
    tree_.add(step, run, first, count, from + slot * slot_stride_ + first, sums);
    for (int64_t j = 0; step.last && j < count; ++j) to[j].*where = sums[j];
  };
  add(slot_sum_, kSum, &LogSum::sum);
  if (cross) add(slot_cross_, kCross, &LogSum::cross);
}

namespace {

// One slot's log-sum-exps of a work item's columns, or a node's.
struct LogSumRuns {
  double *reference, *sum, *cross;  // cross: null where there is none

  bool same_reference(int64_t count) const {
    bool same = true;
    for (int64_t j = 0; j < count; ++j) same &= reference[j] == reference[0];
    return same;
  }
};

// right = left + right, as LogSum::add has it.
void add_left(const LogSumRuns& left, const LogSumRuns& right, int64_t count) {
  ShiftFactor factor;
  if (!left.same_reference(count) || !right.same_reference(count)) {
    for (int64_t j = 0; j < count; ++j) {
      LogSum sum{left.reference[j], left.sum[j], left.cross ? left.cross[j] : 0};
      sum.add({right.reference[j], right.sum[j], right.cross ? right.cross[j] : 0}, factor);
      right.reference[j] = sum.reference, right.sum[j] = sum.sum;
      if (right.cross) right.cross[j] = sum.cross;
    }
    return;
  }
  const double before = left.reference[0], after = right.reference[0];
  const auto add = [&](const double* of_left, double* of_right) {
    if (of_left == nullptr) return;
    if (before == after) {
      for (int64_t j = 0; j < count; ++j) of_right[j] = of_left[j] + of_right[j];
    } else if (after < before) {
      const double down = LogSum::shrink(after, before, factor);
      for (int64_t j = 0; j < count; ++j) of_right[j] = of_left[j] + of_right[j] * down;
    } else {
      const double down = LogSum::shrink(before, after, factor);
      for (int64_t j = 0; j < count; ++j) of_right[j] = of_left[j] * down + of_right[j];
    }
  };
  add(left.sum, right.sum);
  add(left.cross, right.cross);
  if (after < before) std::copy_n(left.reference, count, right.reference);
}

}  // namespace

void SoftmaxSweep::merge_shifted(const TreeStep& step, int64_t slot, int64_t first, int64_t count, bool cross,
                                 LogSum* to) const {
  double references[kMergeColumns], sums[kMergeColumns], crosses[kMergeColumns];
  const int64_t at = slot * slot_stride_ + first;
  for (int64_t j = 0; j < count; ++j) {
    references[j] = double{scale_} * slot_shift_[at + j];
    sums[j] = slot_sum_[at + j];
  }
  for (int64_t j = 0; cross && j < count; ++j) {
    const double centre = slot_centre_[slot * column_tiles_ + (first + j) / Sweep::kTileColumns];
    crosses[j] = slot_cross_[at + j] + (references[j] - centre) * sums[j];
  }
  const LogSumRuns of_slot{references, sums, cross ? crosses : nullptr};
  const auto node = [&](int level) {
    return LogSumRuns{tree_.node(level, kReference, first), tree_.node(level, kSum, first),
                      cross ? tree_.node(level, kCross, first) : nullptr};
  };
  step.for_each([&](int level) { add_left(node(level), of_slot, count); });
  if (step.last) {
    for (int64_t j = 0; j < count; ++j) to[j] = {references[j], sums[j], cross ? crosses[j] : 0};
    return;
  }
  const LogSumRuns waiting = node(step.level);
  std::copy_n(references, count, waiting.reference);
  std::copy_n(sums, count, waiting.sum);
  if (cross) std::copy_n(crosses, count, waiting.cross);
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

OwnScores::Own OwnScores::of(int64_t partner, int64_t partners, int64_t row) const {
  const bool there = has_own(partner, partners) && !pairs_.excluded;
  return {there ? double{scale_} * dots_[row] : 0, there, others(partner, partners)};
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
