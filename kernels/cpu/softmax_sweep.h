// The state of a softmax over a sweep: forward, log-sum-exps of rows and columns; backward, what pulls each row and column towards its own.
#pragma once

#include <cmath>

#include "kernels/cpu/log_sum.h"
#include "kernels/cpu/softmax_tile.h"
#include "kernels/cpu/sweep.h"

namespace duet::cpu {

class SoftmaxSweep {
 public:
  SoftmaxSweep(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m);

  // bound: of every score's size, the other score's of take_cross included; NaN or infinite where there is none.
  void begin(float bound);
  // Takes in a tile of scores, scale * dots; returns a number near the largest of them, finite.
  float take(const Tile& tile, int thread, Matrix<const float> dots, float scale);
  // The same, and carries in LogSum::cross the sum of e^score (score - other score). centre: any number near the other scores.
  void take_cross(const Tile& tile, int thread, Matrix<const float> dots, float scale, Matrix<const float> other, float other_scale, float centre);
  // Takes what the tiles of a finished block said of their columns, in the order of the row tiles; cross: they were taken by take_cross.
  void merge(const duet_context& context, const Block& block, bool cross = false);

  const LogSum& row(int64_t i) const { return rows_[i]; }
  const LogSum& column(int64_t j) const { return columns_[j]; }

 private:
  ExpSums row_sums(int thread) const;
  ExpSums column_sums(const Tile& tile) const;
  void add_rows(const Tile& tile, ExpSums sums, float centre, bool cross);

  int64_t n_, m_, tile_rows_, column_tiles_, slot_stride_;
  bool bounded_ = false;
  LogSum *rows_, *columns_;
  float* thread_sums_;                           // threads x 3 x tile rows
  float *slot_shift_, *slot_sum_, *slot_cross_;  // slots x block columns
  double* slot_centre_;                          // slots x column tiles of a block
};

// Weights of the softmax part of d loss/d score; the tiles' gradients are formed by add().
class SoftmaxPull {
 public:
  SoftmaxPull(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t n, int64_t m);

  // Which directions take part; set their entries before the sweep.
  void begin(bool rows, bool columns) { has_rows_ = rows, has_columns_ = columns; }
  void set_row(int64_t i, float log_sum, float weight) { row_log_sum_[i] = part(log_sum, weight), row_weight_[i] = weight; }
  void set_column(int64_t j, float log_sum, float weight) { column_log_sum_[j] = part(log_sum, weight), column_weight_[j] = weight; }

  void add(const Tile& tile, int thread, Matrix<const float> dots, float scale, Accumulate accumulate, Matrix<float> gradient) const;

 private:
  // Without a weight a log-sum-exp of NaN takes no part either: e^-inf is 0.
  static float part(float log_sum, float weight) { return weight == 0 && log_sum != log_sum ? INFINITY : log_sum; }

  int64_t factors_size_;
  float *row_log_sum_, *row_weight_, *column_log_sum_, *column_weight_;
  float* factors_;  // threads x factors_size_
  bool has_rows_ = false, has_columns_ = false;
};

// One block of d loss/d dots, and the derivative by the scale that comes with it.
class ScoreGradient {
 public:
  ScoreGradient(Workspace& workspace, const Sweep& sweep);

  void begin() { scale_ = 0; }
  Matrix<float> tile(const Tile& tile) const { return block_.part(tile.block_row, tile.block_column, tile.rows, tile.columns); }
  // The tile holds d loss/d score and is complete: turns it into d loss/d dots.
  void close(const Tile& tile, Matrix<const float> dots, float scale);
  // The finished block's gradient.
  Matrix<float> merge(const Block& block);
  // sum of d loss/d score * dots over the blocks merged so far.
  double scale() const { return scale_; }

 private:
  Matrix<float> block_;
  double* slot_scale_;
  double scale_ = 0;
};

}  // namespace duet::cpu
