// How an n x m matrix that is never stored is visited on the GPU: in blocks, a launch each; and the two products that
// end every backward sweep.
//
// A block's tiles run in any order. What a tile has to say of its rows and columns goes to partial buffers, a place for
// every tile, which a small kernel merges in the order of the tiles before the next block overwrites them: memory of a
// constant size, sums in an order that the shapes alone decide. Forward blocks are 16384 x 16384, or 4096 high where a
// tile says much, and walked: as many blocks of threads as the device runs at once, each along a run of neighbours in a
// row of tiles. So its rows can stay in shared memory, the next tile's first steps come under the epilogue of the
// present one (tiles.h), and where runs begin together, all read the same few columns from L2. 128 x 64 tiles of 128 x
// 256 are 64 for each of 128 of 132 SMs.
//
// Backward blocks are 4096 x 4096: the block of d loss/d score is packed twice, as G and as G^T (32 MB each in bf16, 64
// MB in float32: partly in the 50 MB of L2), and its products are one launch of 2 x 32 x d/128 tiles, at d = 512 one
// wave. A block of threads takes a tile, rows running fastest, so that tiles which run together share their columns'
// rows and the block's 4096 x d words stay in L2.
#pragma once

#include "kernels/cuda/pack.h"

namespace duet::cuda {

inline constexpr int64_t kBlockRows = 4096, kForwardRows = 16384, kForwardColumns = 16384, kBackwardColumns = 4096;

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
  bool same_rows = false;       // as the tile before it, of the same block of threads
};

template <class T>
int64_t tiles_of(const Block& block) {
  return int64_t{ceil_div(block.rows, kTileRows)} * ceil_div(block.columns, T::kColumns);
}

template <class T>
__device__ __forceinline__ TilePlace tile_at(const Block& block, int row_tile, int column_tile) {
  TilePlace place;
  place.row_tile = row_tile;
  place.column_tile = column_tile;
  place.block_row = place.row_tile * kTileRows;
  place.block_column = place.column_tile * T::kColumns;
  place.first_row = block.first_row + place.block_row;
  place.first_column = block.first_column + place.block_column;
  place.rows = min(kTileRows, block.rows - place.block_row);
  place.columns = min(T::kColumns, block.columns - place.block_column);
  return place;
}

template <class T>
__device__ __forceinline__ TilePlace tile_of(const Block& block, unsigned index) {
  const int down = ceil_div(block.rows, kTileRows);
  return tile_at<T>(block, static_cast<int>(index) % down, static_cast<int>(index) / down);
}

// The product of a tile; none for a place without rows.
template <class T>
__device__ __forceinline__ typename T::Operands operands_of(const Packed& x, const Packed& y, const TilePlace& place,
                                                            bool keeps_rows = false) {
  return {
      x.row(place.first_row), x.stride, y.row(place.first_column), y.stride, place.rows > 0 ? x.steps() : 0, keeps_rows,
      place.same_rows};
}

// body(tile type) for the kernels that hold one product: SingleTile of the context's precision, or DualTile where the
// device gives a block too little shared memory for that.
template <class Body>
void with_single_tile(const duet_context& context, Body&& body) {
  with_precision(context.precision, [&](auto precision) {
    using Wide = SingleTile<decltype(precision)::value>;
    using Narrow = DualTile<decltype(precision)::value>;
    static_assert(Narrow::fits(kLeastSharedBytes), "on every device");
    if constexpr (!Wide::fits(kLeastSharedBytes)) {
      if (!Wide::fits(context.shared_bytes)) return body(Narrow());
    }
    body(Wide());
  });
}

// What with_single_tile gives: the columns of a tile, and the rows of a forward block whose tiles say little.
struct TileShape {
  int columns;
  int64_t block_rows;
};
TileShape single_tile_shape(const duet_context& context);

// A launch over the tiles of a block: blocks() blocks of threads with shared_bytes() of dynamic shared memory, and in
// the kernel
//   typename T::Loop loop{shared, walk.kept_steps};
//   for (int tile = walk.first(); tile < walk.end(); ++tile) ...
// with walk.place(tile) and walk.place(tile + 1), which may be none. Where an SM runs two blocks (!kRuns) a tile a
// block is all: the registers have no room for more.
template <class T>
struct Walk {
  static constexpr bool kRuns = T::kRuns;
  static constexpr int64_t kRows = kRuns ? kForwardRows : kBlockRows;  // of a block whose tiles say little

  Block block;
  int run;         // tiles of a block of threads
  int kept_steps;  // of their rows, in shared memory
  bool all_kept;

  // steps: of the product that keeps its rows; alone: the loop has no other.
  Walk(const duet_context& context, const Block& block, int steps, bool alone = true)
      : block(block), run(1), kept_steps(0), all_kept(false) {
    if (!kRuns) return;
    const int64_t tiles = tiles_of<T>(block), at_once = std::max(context.multiprocessors, 1);
    const int across = ceil_div(block.columns, T::kColumns);
    const int least = run = static_cast<int>(ceil_div(tiles, at_once));
    // A little more, where runs then begin in the same columns.
    for (int more = least; more <= least + least / 32; ++more) {
      if (more % across != 0 && across % more != 0) continue;
      run = more;
      break;
    }
    const int places = T::row_places(context.shared_bytes);
    all_kept = alone && steps >= T::kStages && steps <= places;
    kept_steps = all_kept ? steps : steps < T::kStages ? 0 : std::min(steps, places - T::kStages);
  }

  int64_t blocks() const { return ceil_div(tiles_of<T>(block), run); }
  size_t shared_bytes() const { return T::shared_bytes(kept_steps + (all_kept ? 0 : T::kStages)); }

  __device__ __forceinline__ int first() const { return static_cast<int>(blockIdx.x) * (kRuns ? run : 1); }
  __device__ __forceinline__ int end() const { return kRuns ? min(first() + run, down() * across()) : first() + 1; }
  __device__ __forceinline__ TilePlace place(int tile) const {
    if (tile >= end()) return {};
    if (!kRuns) return tile_of<T>(block, static_cast<unsigned>(tile));
    TilePlace place = tile_at<T>(block, tile / across(), tile % across());
    place.same_rows = place.column_tile > 0 && tile > first();
    return place;
  }

 private:
  __device__ __forceinline__ int down() const { return ceil_div(block.rows, kTileRows); }
  __device__ __forceinline__ int across() const { return ceil_div(block.columns, T::kColumns); }
};

// body(block), block after block, row-major.
template <class Body>
void for_each_block(int64_t n, int64_t m, int64_t block_rows, int64_t block_columns, Body&& body) {
  for (int64_t row = 0; row < n; row += block_rows)
    for (int64_t column = 0; column < m; column += block_columns)
      body(Block{row, column, static_cast<int>(std::min(block_rows, n - row)),
                 static_cast<int>(std::min(block_columns, m - column))});
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

// Stores a tile (a TileProduct's Values; 0 outside the matrix) in the block. All lanes of every warp.
template <class T>
__device__ __forceinline__ void store_tile(const GradientBlock& block, const TilePlace& place,
                                           const typename T::Values& values) {
  constexpr int kElements = elements_of_word(T::kPrecision);
  if (block.g.words)
    T::store_packed(values, block.g.words + place.block_row * block.g.stride + place.block_column / kElements,
                    block.g.stride);
  if (block.transposed.words)
    T::store_packed_transposed(
        values, block.transposed.words + place.block_column * block.transposed.stride + place.block_row / kElements,
        block.transposed.stride);
}

// For factors that lie in device memory: where one is 0 nothing is added, not even 0 times a NaN. Null: no such factor.
__device__ __forceinline__ bool points_to_zero(const float* factor) { return factor != nullptr && *factor == 0; }

// grad_a (n x d) += G v and grad_v (m x d) += G^T a, block after block.
class BlockGradients {
 public:
  BlockGradients(Workspace& workspace, duet_precision precision, int64_t n, int64_t m, int64_t d);

  // A gradient without data is not computed. The rows count times their inverse (pack.h), null for 1. unless_zero: see
  // points_to_zero(). What is added to a gradient is multiplied by its factor in device memory, null for 1; of factor 0
  // nothing is added, as with unless_zero.
  void begin(const duet_context& context, Matrix<const float> a, const double* inverse_a, Matrix<const float> v,
             const double* inverse_v, Matrix<float> grad_a, Matrix<float> grad_v, const float* unless_zero = nullptr,
             const float* factor_a = nullptr, const float* factor_v = nullptr);
  const GradientBlock& block() const { return block_; }  // what the kernel that forms G fills
  void add(const duet_context& context, const Block& block) const;

 private:
  Packed a_, v_;  // as columns
  Packed g_, transposed_;
  GradientBlock block_;
  Matrix<float> grad_a_, grad_v_;
  const float *unless_zero_ = nullptr, *factor_a_ = nullptr, *factor_v_ = nullptr;
};

}  // namespace duet::cuda
