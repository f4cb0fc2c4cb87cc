// The state of a softmax over a sweep: forward, log-sum-exps of rows and columns; backward, the weights of the softmax
// part of the gradient.
#pragma once

#include <cmath>

#include "kernels/core/own_pair.h"
#include "kernels/cpu/agreement.h"
#include "kernels/cpu/log_sum.h"
#include "kernels/cpu/slot_tree.h"
#include "kernels/cpu/softmax_tile.h"
#include "kernels/cpu/sweep.h"

namespace duet::cpu {

// An upper bound of the size of every score scale a_i.v_j; NaN or infinite where none is known. Rows of at most unit
// length count as a little longer ones: parts of a batch of such rows, and the whole, all have the same bound, and so
// the same bits of what they make of it.
float score_bound(const duet_context& context, float scale, Matrix<const float> a, Matrix<const float> v);

class SoftmaxSweep {
 public:
  SoftmaxSweep() = default;  // unset
  SoftmaxSweep(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m);

  // bound: an upper bound of the size of every score, and of the other score of take_cross; NaN or infinite where none
  // is known. scale: the factor of the dots.
  void begin(float bound, float scale);
  // Adds a tile of scores, scale * dots, to the sums. Returns a number near the largest score of every row and column,
  // 0 where there is no such number.
  float take(const Tile& tile, int thread, Matrix<const float> dots);
  // The same, and LogSum::cross carries the sum of e^score (score - other score). centre: any number near the other
  // scores.
  void take_cross(const Tile& tile, int thread, Matrix<const float> dots, Matrix<const float> other, float other_scale,
                  float centre);
  // Adds the column sums of a finished block's tiles to the tree of the slots. After the last row block of a column
  // block its columns have their sums. cross: whether the tiles were added by take_cross.
  void merge(const duet_context& context, const Block& block, bool cross = false);

  const LogSum& row(int64_t i) const { return rows_[i]; }
  const LogSum& column(int64_t j) const { return columns_[j]; }

 private:
  ExpSums row_sums(int thread) const;
  ExpSums column_sums(const Tile& tile) const;
  void add_rows(const Tile& tile, ExpSums sums, float centre, bool cross);
  // Adds a slot's sums of count columns from a block's column `first` on; after the last slot the sums are in to.
  void merge_bounded(const TreeStep& step, int64_t slot, int64_t first, int64_t count, bool cross, LogSum* to) const;
  void merge_shifted(const TreeStep& step, int64_t slot, int64_t first, int64_t count, bool cross, LogSum* to) const;

  enum { kReference = 0, kSum = 1, kCross = 2, kRuns = 3 };  // of a node of the tree

  int64_t n_, m_, tile_rows_, column_tiles_, slot_stride_;
  bool bounded_ = false;
  float scale_ = 0;
  LogSum *rows_, *columns_;
  SlotTree tree_;                                // of reference, sum, cross
  float* thread_sums_;                           // threads x 3 x tile rows
  float *slot_shift_, *slot_sum_, *slot_cross_;  // slots x block columns
  double* slot_centre_;                          // slots x column tiles of a block
};

// The log-sum-exp of so many other pairs; with none it is what was left out.
inline double log_of_others(int64_t count, const LogSum& sum) { return count == 0 ? -HUGE_VAL : sum.log(); }

// Own pairs, kept apart from the sums. The dot of an own pair is stored, and replaced in the tile by one with e^score =
// 0, for every scale, 0 included.
class OwnScores {
 public:
  OwnScores(Workspace& workspace, int64_t n, int64_t m) : n_(n), m_(m), dots_(workspace.take<float>(n)) {}

  // bound: the one that the sums are given. Without pairs nothing is left out. Returns the scale of the dots after
  // leave_out, which the sums must be given.
  float begin(const Agreement& pairs, float bound, float scale);
  void leave_out(const Tile& tile, Matrix<float> dots) const;

  // The own pair of a row or a column after all tiles were added, where it is there and not excluded, and how many
  // other pairs there are.
  struct Own {
    double score;  // not read where it is not there
    bool there;
    int64_t others;
  };
  Own of_row(int64_t i) const { return of(i + offset_, m_, i); }
  Own of_column(int64_t j) const { return of(j - offset_, n_, j - offset_); }
  // The log-sum-exp of what a row or a column keeps, where own pairs are excluded or there are none.
  double row_log_sum(int64_t i, const LogSum& sum) const { return log_of_others(others(i + offset_, m_), sum); }
  double column_log_sum(int64_t j, const LogSum& sum) const { return log_of_others(others(j - offset_, n_), sum); }

 private:
  // partner: the other side's index of the pair.
  bool has_own(int64_t partner, int64_t partners) const { return pairs_.paired && partner >= 0 && partner < partners; }
  Own of(int64_t partner, int64_t partners, int64_t row) const;
  int64_t others(int64_t partner, int64_t partners) const { return partners - (has_own(partner, partners) ? 1 : 0); }

  Agreement pairs_;
  int64_t n_, m_, offset_ = 0;     // row i and column i + offset_ are a pair
  float scale_ = 0, nothing_ = 0;  // the scale of the dots after leave_out, and the dot that replaces a pair's
  float shrink_ = 1;               // what every dot is multiplied by
  float* dots_;                    // n
};

// Weights of the softmax part of d loss/d score; the tiles' gradients are formed by add().
class SoftmaxBackward {
 public:
  SoftmaxBackward(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m);

  // Which directions take part; set their entries before the sweep.
  void begin(bool rows, bool columns) { has_rows_ = rows, has_columns_ = columns; }
  void set_row(int64_t i, float log_sum, float weight) {
    row_log_sum_[i] = log_sum, row_weight_[i] = checked_weight(weight, log_sum);
  }
  void set_column(int64_t j, float log_sum, float weight) {
    column_log_sum_[j] = log_sum, column_weight_[j] = checked_weight(weight, log_sum);
  }

  void add(const Tile& tile, int thread, Matrix<const float> dots, float scale, Accumulate accumulate,
           Matrix<float> gradient) const;

 private:
  int64_t factors_size_;
  float *row_log_sum_, *row_weight_, *column_log_sum_, *column_weight_;
  float* factors_;  // threads x factors_size_
  bool has_rows_ = false, has_columns_ = false;
};

// One block of d loss/d dots, and the derivative by the scale that comes with it.
class ScoreGradient {
 public:
  ScoreGradient(Workspace& workspace, const Sweep& sweep);

  void begin() { scale_.begin(); }
  Matrix<float> tile(const Tile& tile) const {
    return block_.part(tile.block_row, tile.block_column, tile.rows, tile.columns);
  }
  // The tile holds d loss/d dots and is complete; by_scale: its part of d loss/d scale.
  void close(const Tile& tile, double by_scale) { scale_.add(tile, by_scale); }
  // The finished block's gradient.
  Matrix<float> merge(const Block& block) { return block_.part(0, 0, block.rows, block.columns); }
  // d loss/d scale over the tiles so far.
  float scale() const { return scale_.value(); }

 private:
  Matrix<float> block_;
  SlotSum scale_;
};

}  // namespace duet::cpu
