// From dL/dD to the gradients of the rows (METHOD.md 1) on the GPU, block after block: what the backward passes of distance, triplet and alignment
// share. A kernel of the caller's forms a tile of dL/dD and hands it to take_gradient(); then add(block), and after the last block finish().
#pragma once

#include "kernels/distance/distance_tile_cuda.h"

namespace duet::cuda {

// What a kernel fills; null: not wanted.
struct DistanceGradientView {
  GradientBlock block;
  float *row_sums = nullptr, *column_sums = nullptr;  // of the factor: column tiles x kBlockRows, row tiles x kBackwardColumns
  // Pairs so close that 1/D would magnify what the products cancel; they are added directly. A bit each, and a mark for rows and columns with any.
  unsigned *row_bits = nullptr, *column_bits = nullptr;
  int *row_marks = nullptr, *column_marks = nullptr;
};

inline constexpr int kBitWords = kBackwardColumns / 32;
static_assert(kBackwardColumns == kBlockRows, "the words of a row's bits and of a column's");

class DistanceGradients {
 public:
  DistanceGradients(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n, int64_t m, int64_t d);

  // x and y as rows were prepared from; a gradient without data is not computed.
  void begin(const duet_context& context, const DistanceRows& rows, Matrix<const float> x, Matrix<const float> y, Matrix<float> grad_x,
             Matrix<float> grad_y);
  const DistanceGradientView& view() const { return view_; }
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
    unsigned* bits = nullptr;  // euclidean
    int* marks = nullptr;
  };
  Side take(Workspace& workspace, int64_t rows, int64_t others, int64_t d) const;

  duet_metric metric_;
  duet_precision precision_;
  Side x_, y_;
  BlockGradients products_;
  DistanceGradientView view_;
};

// g holds dL/dD of the tile, 0 outside the matrix; distances are read for euclidean alone. All threads of the block; g and shared are scratch
// afterwards.
template <class T>
__device__ __forceinline__ void take_gradient(uint32_t* shared, const DistanceView& rows, const DistanceGradientView& out, const TilePlace& place,
                                              const typename T::Values& distances, typename T::Values& g) {
  if (rows.metric == DUET_SQEUCLIDEAN || rows.metric == DUET_EUCLIDEAN) {
    unsigned close[T::kValues / 32] = {};
    float row_sum[T::kThreadRows] = {}, column_sum[T::kThreadColumns] = {};
    const bool euclidean = rows.metric == DUET_EUCLIDEAN;
    if (euclidean) {
      float y[T::kThreadColumns];
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) y[c] = rows.square_y[place.first_column + T::column(c)];
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        const float x = rows.square_x[place.first_row + T::row(r)];
        DUET_UNROLL
        for (int c = 0; c < T::kThreadColumns; ++c) {
          const float distance = distances(r, c), factor = distance == 0 || g(r, c) == 0 ? 0 : -g(r, c) / distance;
          g(r, c) = factor;
          const bool is_close = is_exact(T::kPrecision) && factor != 0 && distance * distance < rows.near * fmaxf(x, y[c]);
          const int k = r * T::kThreadColumns + c;
          close[k / 32] |= is_close ? 1u << k % 32 : 0;
          row_sum[r] += is_close ? 0 : factor;
          column_sum[c] += is_close ? 0 : factor;
        }
      }
    } else {
      DUET_UNROLL
      for (int r = 0; r < T::kThreadRows; ++r) {
        DUET_UNROLL
        for (int c = 0; c < T::kThreadColumns; ++c) {
          g(r, c) *= -2;
          row_sum[r] += g(r, c);
          column_sum[c] += g(r, c);
        }
      }
    }
    const int k = static_cast<int>(threadIdx.x);
    if (out.row_sums) {
      const float* of_row = T::reduce_rows(T::template area<float>(shared, 0), row_sum, Sum());
      if (k < kTileRows) out.row_sums[place.column_tile * kBlockRows + place.block_row + k] = of_row[k];
    }
    if (out.column_sums) {
      const float* of_column = T::reduce_columns(T::template area<float>(shared, 1), column_sum, Sum());
      if (k < T::kColumns) out.column_sums[place.row_tile * kBackwardColumns + place.block_column + k] = of_column[k];
    }
    for (int word = 0; word < T::kValues / 32; ++word) {
      unsigned bits = 0;
      DUET_UNROLL
      for (int w = 0; w < T::kValues / 32; ++w) bits = w == word ? close[w] : bits;
      for (; bits; bits &= bits - 1) {
        const int element = 32 * word + __ffs(static_cast<int>(bits)) - 1;
        const int row = place.block_row + T::row(element / T::kThreadColumns), column = place.block_column + T::column(element % T::kThreadColumns);
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
  take_tile<T>(out.block, place, g);
}

}  // namespace duet::cuda
