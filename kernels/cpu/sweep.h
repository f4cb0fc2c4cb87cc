// The tile sweep: how an n x m matrix that is never stored is visited.
//
// The matrix is cut into blocks of at most 2048 x 1024, each block into tiles. Blocks are visited one after another, row-major; within a block
// the row tiles are spread over the threads, and one thread takes all column tiles of its row tile in order. So a row's state has one writer
// and one order. What a tile has to say of its columns goes to a partial buffer of its row tile ("slot"), and when the block is done the
// partials are merged in slot order. The memory for that is a constant number of buffers, whatever n and m, and the order of every sum depends
// on the shapes alone: same inputs, same bits, any number of threads.
#pragma once

#include "kernels/core/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_product.h"

namespace duet::cpu {

struct Tile {
  int64_t first_row, rows, first_column, columns;
  int64_t slot;       // number of the row tile within its block
  int64_t block_row;  // first_row and first_column counted from the block's corner
  int64_t block_column;
};

struct Block {
  int64_t first_row, rows, first_column, columns;
  int64_t slots;  // row tiles in this block
};

class Sweep {
 public:
  static constexpr int64_t kBlockRows = 2048, kBlockColumns = 1024;
  // A tile is 256 KB, two of them fit the 1 MB L2 of an EPYC (Zen 4); 512 columns against 256 save 1 to 3 % of a loss there.
  static constexpr int64_t kTileColumns = 512;

  Sweep(int64_t n, int64_t m) : n_(n), m_(m) {}

  // Small problems get small tiles, so that there is work for more than one thread.
  int64_t tile_rows() const { return n_ >= 1024 ? 128 : n_ >= 256 ? 64 : 32; }
  int64_t tile_columns() const { return std::min(m_, kTileColumns); }
  int64_t block_rows() const { return std::min(n_, kBlockRows); }
  int64_t block_columns() const { return std::min(m_, kBlockColumns); }
  int64_t slots() const { return ceil_div(block_rows(), tile_rows()); }

  // body(tile, thread) for every tile of a block, then finish(block) on the calling thread, block after block. Neither throws.
  template <class Body, class Finish>
  void run(const duet_context& context, Body&& body, Finish&& finish) const {
    for (int64_t row = 0; row < n_; row += kBlockRows) {
      for (int64_t column = 0; column < m_; column += kBlockColumns) {
        const int64_t rows = std::min(kBlockRows, n_ - row), columns = std::min(kBlockColumns, m_ - column);
        const Block block{row, rows, column, columns, ceil_div(rows, tile_rows())};
        parallel_for(context, block.slots, [&](int64_t slot, int thread) {
          const int64_t r = slot * tile_rows(), tile_height = std::min(tile_rows(), rows - r);
          for (int64_t c = 0; c < columns; c += kTileColumns)
            body(Tile{row + r, tile_height, column + c, std::min(kTileColumns, columns - c), slot, r, c}, thread);
        });
        finish(block);
      }
    }
  }

 private:
  int64_t n_, m_;
};

// The two products that end every backward sweep, block after block, for a block's G (block.rows x block.columns, kept in scratch):
// grad_a rows of the block += G v, grad_v rows of the block's columns += G^T a. a and v are packed once for the whole sweep.
class BlockGradients {
 public:
  BlockGradients(Workspace& workspace, int64_t n, int64_t m, int64_t d);

  // A gradient without data is not computed.
  void begin(const duet_context& context, Matrix<const float> a, Matrix<const float> v, Matrix<float> grad_a, Matrix<float> grad_v);
  void add(const duet_context& context, const Block& block, Matrix<const float> g) const;

 private:
  float *storage_a_, *storage_v_;
  PackedColumns a_, v_;
  Matrix<float> grad_a_, grad_v_;
};

}  // namespace duet::cpu
