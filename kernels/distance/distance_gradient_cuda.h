// From dL/dD to the gradients of the rows (METHOD.md 1) on the GPU, block after block: what the backward passes of
// distance, triplet and alignment share. A kernel of the caller's hands dL/dD of a tile to store_gradient(); then
// add(block), and after the last block finish().
#pragma once

#include "kernels/distance/distance_tile_cuda.h"

namespace duet::cuda {

// What a kernel fills; null: not wanted.
struct DistanceGradientView {
  GradientBlock block;
  float *row_sums = nullptr,
        *column_sums = nullptr;  // of the factor: column tiles x kBlockRows, row tiles x kBackwardColumns
  // Pairs whose gradient is formed from the difference of their rows, by_difference(). A bit each, and a mark for rows
  // and columns with any.
  unsigned *row_bits = nullptr, *column_bits = nullptr;
  int *row_marks = nullptr, *column_marks = nullptr;
};

inline constexpr int kBitWords = kBackwardColumns / 32;
static_assert(kBackwardColumns == kBlockRows, "the words of a row's bits and of a column's");

class DistanceGradients {
 public:
  DistanceGradients(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n, int64_t m,
                    int64_t d);

  // x and y as rows were prepared from; a gradient without data is not computed. unless_zero: see points_to_zero().
  void begin(const duet_context& context, const DistanceRows& rows, Matrix<const float> x, Matrix<const float> y,
             Matrix<float> grad_x, Matrix<float> grad_y, const float* unless_zero = nullptr);
  const DistanceGradientView& view() const { return view_; }
  // Once the block's tiles, a DualTile each, were stored.
  void add(const duet_context& context, const Block& block);
  void finish(const duet_context& context);

 private:
  // One side's rows and what becomes their gradient.
  struct Side {
    Matrix<const float> rows;
    Matrix<float> grad;
    RowNorms norms;
    Matrix<float> unit;     // gradients of the unit rows; cosine
    double* sum = nullptr;  // of the factor over the other side; euclidean and sqeuclidean
    float* partial_sums = nullptr;
    unsigned* bits = nullptr;  // euclidean and cosine
    int* marks = nullptr;
  };
  Side take(Workspace& workspace, int64_t rows, int64_t others, int64_t d) const;

  duet_metric metric_;
  duet_precision precision_;
  Side x_, y_;
  const float* unless_zero_ = nullptr;
  BlockGradients products_;
  DistanceGradientView view_;
};

// One pair's distance and dL/dD.
struct PairGradient {
  float distance, g;
};

// Forms the factors of the products of a tile and stores them in the block. source.column(c) gives what pair(r, value)
// needs of a column of the thread's, pair(r, value) a PairGradient with g = 0 outside the matrix; value is values(r,
// c), the distance read for euclidean and cosine (1 where it is not known). All threads of the block; values and shared
// are scratch afterwards.
template <class T, class Source>
__device__ __forceinline__ void store_gradient(uint32_t* shared, const DistanceView& rows,
                                               const DistanceGradientView& out, const TilePlace& place,
                                               const Source& source, typename T::Values& values) {
  const bool euclidean = rows.metric == DUET_METRIC_EUCLIDEAN,
             summed = euclidean || rows.metric == DUET_METRIC_SQEUCLIDEAN;
  const bool marked = is_exact(T::kPrecision) && (euclidean || rows.metric == DUET_METRIC_COSINE);
  const float times = rows.metric == DUET_METRIC_SQEUCLIDEAN ? -2 : 1;
  unsigned close[T::kValues / 32] = {};
  float x[T::kThreadRows];
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) x[r] = marked ? rows.square_x[place.first_row + T::row(r)] : 0;
  DUET_UNROLL
  for (int c = 0; c < T::kThreadColumns;
       ++c) {  // columns outside: what is known of a column is in registers for one at a time
    const auto pair = source.column(c);
    const float y = marked ? rows.square_y[place.first_column + T::column(c)] : 0;
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const PairGradient of_pair = pair(r, values(r, c));
      const float d = of_pair.distance;
      float factor = times * of_pair.g;
      const float square = d * (euclidean ? d : rows.one), bound = fmaxf(rows.near * fmaxf(x[r], y), rows.least);
      const bool is_close = is_exact(T::kPrecision) && (factor != 0) & ((square < bound) | (d > rows.far));
      // In TF32 and bf16 a pair at less than float32's smallest normal distance has no direction.
      if (euclidean)
        factor = d < (is_exact(T::kPrecision) ? kSmallestFloat : kSmallestNormal) ? 0
                 : is_close                                                       ? -factor
                                                                                  : -factor * ptx::reciprocal(d);
      const int k = r * T::kThreadColumns + c;
      close[k / 32] |= is_close ? 1u << k % 32 : 0;
      values(r, c) = factor;
    }
  }
  if (summed) {
    const int k = static_cast<int>(threadIdx.x);
    if (out.row_sums) {
      float sum[T::kThreadRows] = {};
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        DUET_UNROLL
        for (int c = 0; c < T::kThreadColumns; ++c)
          sum[r] += close[(r * T::kThreadColumns + c) / 32] >> (r * T::kThreadColumns + c) % 32 & 1 ? 0 : values(r, c);
      }
      const float* of_row = T::reduce_rows(T::template area<float>(shared, 0), sum, Sum());
      if (k < kTileRows) out.row_sums[place.column_tile * kBlockRows + place.block_row + k] = of_row[k];
    }
    if (out.column_sums) {
      float sum[T::kThreadColumns] = {};
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        DUET_UNROLL
        for (int r = 0; r < T::kThreadRows; ++r)
          sum[c] += close[(r * T::kThreadColumns + c) / 32] >> (r * T::kThreadColumns + c) % 32 & 1 ? 0 : values(r, c);
      }
      const float* of_column = T::reduce_columns(T::template area<float>(shared, 1), sum, Sum());
      if (k < T::kColumns) out.column_sums[place.row_tile * kBackwardColumns + place.block_column + k] = of_column[k];
    }
  }
  if (marked) {
    for (int word = 0; word < T::kValues / 32; ++word) {
      unsigned bits = 0;
      DUET_UNROLL
      for (int w = 0; w < T::kValues / 32; ++w) bits = w == word ? close[w] : bits;
      for (; bits; bits &= bits - 1) {
        const int k = 32 * word + __ffs(static_cast<int>(bits)) - 1;
        const int row = place.block_row + T::row(k / T::kThreadColumns),
                  column = place.block_column + T::column(k % T::kThreadColumns);
        if (out.row_bits) {
          atomicOr(&out.row_bits[row * kBitWords + column / 32], 1u << column % 32);
          atomicOr(&out.row_marks[row], 1);
        }
        if (out.column_bits) {
          atomicOr(&out.column_bits[column * kBitWords + row / 32], 1u << row % 32);
          atomicOr(&out.column_marks[column], 1);
        }
      }
    }
  }
  store_tile<T>(out.block, place, values);
}

}  // namespace duet::cuda
