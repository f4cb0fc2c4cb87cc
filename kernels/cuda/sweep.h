// How an n x m matrix that is never stored is visited on the GPU: in blocks, a launch each; and the two products that end every backward sweep.
//
// A block's tiles run in any order. What a tile has to say of its rows and columns goes to partial buffers, a place for every tile, which a small
// kernel merges in the order of the tiles before the next block overwrites them: memory of a constant size, sums in an order that the shapes alone
// decide. Forward blocks are 4096 x 16384: 4096 tiles of 128 x 128 or 2048 of 128 x 256, 15.5 waves of 132 SMs. Backward blocks are 4096 x 4096:
// the block of d loss/d score is packed twice, as G and as G^T (32 MB each in bf16, 64 MB in float32: partly in the 60 MB of L2), and its products
// are one launch of 2 x 32 x d/128 tiles, at d = 512 one wave. Rows run fastest, so that tiles which run together share their columns' rows and
// the block's 4096 x d words stay in L2.
#pragma once

#include "kernels/cuda/pack.h"

namespace duet::cuda {

inline constexpr int64_t kBlockRows = 4096, kForwardColumns = 16384, kBackwardColumns = 4096;

struct Block {
  int64_t first_row, first_column;
  int rows, columns;
};

// One tile of a block; rows and columns: how many of it are inside the matrix.
struct TilePlace {
  int64_t first_row, first_column;
  int rows, columns;
  int row_tile, column_tile;    // within the block
  int block_row, block_column;  // first_row and first_column counted from the block's corner
};

template <class T>
int64_t tiles_of(const Block& block) {
  return rounded_up(block.rows, kTileRows) / kTileRows * (rounded_up(block.columns, T::kColumns) / T::kColumns);
}

template <class T>
__device__ __forceinline__ TilePlace tile_of(const Block& block, unsigned index) {
  const int down = (block.rows + kTileRows - 1) / kTileRows;
  TilePlace place;
  place.row_tile = static_cast<int>(index) % down;
  place.column_tile = static_cast<int>(index) / down;
  place.block_row = place.row_tile * kTileRows;
  place.block_column = place.column_tile * T::kColumns;
  place.first_row = block.first_row + place.block_row;
  place.first_column = block.first_column + place.block_column;
  place.rows = min(kTileRows, block.rows - place.block_row);
  place.columns = min(T::kColumns, block.columns - place.block_column);
  return place;
}

// body(block), block after block, row-major.
template <class Body>
void for_each_block(int64_t n, int64_t m, int64_t block_columns, Body&& body) {
  for (int64_t row = 0; row < n; row += kBlockRows)
    for (int64_t column = 0; column < m; column += block_columns)
      body(Block{row, column, static_cast<int>(std::min(kBlockRows, n - row)), static_cast<int>(std::min(block_columns, m - column))});
}

// data[0 .. count) = value
void fill(const duet_context& context, float* data, int64_t count, float value);
void fill(const duet_context& context, double* data, int64_t count, double value);
void fill(const duet_context& context, unsigned* data, int64_t count, unsigned value);
void fill(const duet_context& context, int* data, int64_t count, int value);

// A block of d loss/d score on its way into the products; a side without words is not wanted.
struct GradientBlock {
  Packed g, transposed;
};

// Takes a tile (a TileProduct's Values; 0 outside the matrix) into the block. All lanes of every warp.
template <class T>
__device__ __forceinline__ void take_tile(const GradientBlock& block, const TilePlace& place, const typename T::Values& values) {
  constexpr int kElements = elements_of_word(T::kPrecision);
  if (block.g.words) T::store_packed(values, block.g.words + place.block_row * block.g.stride + place.block_column / kElements, block.g.stride);
  if (block.transposed.words)
    T::store_packed_transposed(values, block.transposed.words + place.block_column * block.transposed.stride + place.block_row / kElements,
                               block.transposed.stride);
}

// For factors that lie in device memory: where one is 0 nothing is added, not even 0 times a NaN. Null: no such factor.
__device__ __forceinline__ bool points_to_zero(const float* factor) { return factor != nullptr && *factor == 0; }

// grad_a (n x d) += G v and grad_v (m x d) += G^T a, block after block.
class BlockGradients {
 public:
  BlockGradients(Workspace& workspace, duet_precision precision, int64_t n, int64_t m, int64_t d);

  // A gradient without data is not computed. The rows count times their inverse (pack.h), null for 1. unless_zero: see points_to_zero().
  void begin(const duet_context& context, Matrix<const float> a, const float* inverse_a, Matrix<const float> v, const float* inverse_v,
             Matrix<float> grad_a, Matrix<float> grad_v, const float* unless_zero = nullptr);
  const GradientBlock& block() const { return block_; }  // what the kernel that forms G fills
  void add(const duet_context& context, const Block& block) const;

 private:
  Packed a_, v_;  // as columns
  Packed g_, transposed_;
  GradientBlock block_;
  Matrix<float> grad_a_, grad_v_;
  const float* unless_zero_ = nullptr;
};

}  // namespace duet::cuda
