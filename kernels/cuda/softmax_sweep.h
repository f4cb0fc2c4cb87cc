// Log-sum-exps of rows and columns from one sweep of tiles, and the derivative by the scale that comes with a backward
// sweep.
//
// Scores are in units of log2 e, so that an exponential is one ex2. A tile's exponentials are relative to a shift: 0
// where no score exceeds kBoundedScore, which the rows' norms tell; else the tile's largest, which serves rows and
// columns alike where all their maxima lie within 60 of it (in natural units: e^-60 more than 10^26 times is nothing);
// else every row's and column's own, and two exponentials an element.
// 16 ex2 a cycle and SM: 128 x 128 are 1,024 cycles, against 13,000 of a bf16 and 39,000 of a tf32x3 product at d =
// 512.
// The tiles' sums are short, so float32 is enough for them; from tile to tile they are carried in float64.
#pragma once

#include "kernels/cuda/scores.h"

namespace duet::cuda {

// sum = sum of 2^{score - shift} along a row or a column of a tile.
struct TileSum {
  float shift, sum;
};

// sum * 2^reference.
struct RunningLogSum {
  double reference, sum;

  __device__ __forceinline__ void add(TileSum tile) {
    constexpr double kReach = 200;  // the sum may grow by 2^200 over the reference, far from float64's 2^1023
    if (!(tile.shift <= reference + kReach)) {
      sum *= exp2(reference - tile.shift);  // 0 for the first tile
      reference = tile.shift;
    }
    sum += tile.sum * (tile.shift == reference ? 1.0 : exp2(tile.shift - reference));
  }
  __device__ __forceinline__ double log() const { return 0.6931471805599453 * (reference + log2(sum)); }
};

// What the tiles of a block fill: column tiles x row_stride, row tiles x column_stride.
struct SoftmaxSumsView {
  TileSum *rows, *columns;
  int64_t row_stride, column_stride;
};

class SoftmaxSums {
 public:
  SoftmaxSums(Workspace& workspace, int64_t n, int64_t m);

  void begin(const duet_context& context) const;
  const SoftmaxSumsView& view() const { return view_; }
  // Once the block's tiles, tile_columns columns each, were taken.
  void merge(const duet_context& context, const Block& block, int tile_columns) const;
  // Either may be without data.
  void finish(const duet_context& context, Vector<float> lse_row, Vector<float> lse_column) const;

 private:
  int64_t n_, m_;
  RunningLogSum *rows_, *columns_;
  SoftmaxSumsView view_;
};

// d loss/d scale: a number from every tile of a block, added in their order.
class ScaleGradient {
 public:
  ScaleGradient(Workspace& workspace, int64_t n, int64_t m);

  void begin(const duet_context& context) const;
  double* tiles() const { return tiles_; }  // the block's, in the order of blockIdx
  void merge(const duet_context& context, int64_t tiles) const;
  // scale[0] += what was merged.
  void finish(const duet_context& context, float* scale) const;

 private:
  double *tiles_, *total_;
};

// Takes in a tile of scores times log2 e, -inf outside the matrix. bounded: none is beyond kBoundedScore or NaN. All
// threads of the block.
template <class T>
__device__ __forceinline__ void take_scores(uint32_t* shared, const SoftmaxSumsView& out, const TilePlace& place,
                                            bool bounded, const typename T::Values& scores) {
  constexpr float kWidest = 60 * kLog2E;
  const float *row_largest = nullptr, *column_largest = nullptr;
  float shift = 0;
  bool common = true;
  if (!bounded) {
    float of_row[T::kThreadRows], of_column[T::kThreadColumns];
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      of_row[r] = scores(r, 0);
      DUET_UNROLL
      for (int c = 1; c < T::kThreadColumns; ++c) of_row[r] = fmaxf(of_row[r], scores(r, c));
    }
    row_largest = T::reduce_rows(T::template area<float>(shared, 0), of_row, Larger());
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      of_column[c] = scores(0, c);
      DUET_UNROLL
      for (int r = 1; r < T::kThreadRows; ++r) of_column[c] = fmaxf(of_column[c], scores(r, c));
    }
    column_largest = T::reduce_columns(T::template area<float>(shared, 1), of_column, Larger());
    // Every warp finds the same numbers.
    float high = finite_or_zero(row_largest[0]), low = high;
    const auto widen = [&](float largest) {
      high = fmaxf(high, finite_or_zero(largest));
      low = fminf(low, finite_or_zero(largest));
    };
    for (int k = T::lane(); k < place.rows; k += 32) widen(row_largest[k]);
    for (int k = T::lane(); k < place.columns; k += 32) widen(column_largest[k]);
    shift = warp_max(high);
    common = shift - warp_min(low) <= kWidest;
  }
  float row_sum[T::kThreadRows] = {}, column_sum[T::kThreadColumns] = {};
  if (common) {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        const float e = ptx::exp2(scores(r, c) - shift);
        row_sum[r] += e;
        column_sum[c] += e;
      }
    }
  } else {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const float of_row = finite_or_zero(row_largest[T::row(r)]);
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) row_sum[r] += ptx::exp2(scores(r, c) - of_row);
    }
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      const float of_column = finite_or_zero(column_largest[T::column(c)]);
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) column_sum[c] += ptx::exp2(scores(r, c) - of_column);
    }
  }
  const float* of_rows = T::reduce_rows(T::template area<float>(shared, 2), row_sum, Sum());
  const float* of_columns = T::reduce_columns(T::template area<float>(shared, 3), column_sum, Sum());
  const int k = static_cast<int>(threadIdx.x);
  if (k < place.rows)
    out.rows[place.column_tile * out.row_stride + place.block_row + k] = {
        common ? shift : finite_or_zero(row_largest[k]), of_rows[k]};
  if (k < place.columns)
    out.columns[place.row_tile * out.column_stride + place.block_column + k] = {
        common ? shift : finite_or_zero(column_largest[k]), of_columns[k]};
}

}  // namespace duet::cuda
