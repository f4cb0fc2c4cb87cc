// The tile sweep: how an n x m matrix that is never stored is visited.
//
// The matrix is cut into blocks of at most 2048 rows, each block into tiles. Blocks are visited one after another:
// those of the first columns, from the first rows on, then those of the next columns. Within a block the row tiles are
// spread over the threads, and one thread visits all column tiles of its row tile in order. So a row's state has one
// writer and one order. What a tile contributes to its columns goes to a partial buffer of its row tile ("slot"). When
// the block is done, the partial buffers are merged: sums over rows are added by the tree of row_tree.h, so that an n x
// m matrix in parts of rows gives the bits of the whole. A row tile is a node of that tree. The order of every sum
// depends on the shapes alone: same inputs, same bits, any number of threads.
#pragma once

#include <algorithm>

#include "kernels/core/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_tree.h"
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
  static constexpr int64_t kBlockRows = 2048;
  // Columns of a block, by times on an EPYC (Zen 4). A wide one reads and writes the rows of an n x m matrix in long
  // runs: 256 columns cost distance forward 4 to 11 % there. A narrow one packs its operands for itself and holds a
  // quarter of G: a loss whose matrix nobody sees takes a quarter of the memory in the same time.
  enum Width : int64_t { kNarrow = 256, kWide = 1024 };
  // A tile is 64 KB at most: several of them fit the L2.
  static constexpr int64_t kTileColumns = 512;

  // A node of the tree over rows, the same for every n: a part of the rows then has the tiles of the whole.
  static constexpr int64_t kTileRows = 2 * kTreeRows;

  Sweep(int64_t n, int64_t m, Width width) : n_(n), m_(m), width_(width) {}

  int64_t tile_rows() const { return kTileRows; }
  int64_t row_tiles() const { return ceil_div(n_, kTileRows); }  // of all blocks
  int64_t tile_columns() const { return std::min(block_columns(), kTileColumns); }
  int64_t block_rows() const { return std::min(n_, kBlockRows); }
  int64_t block_columns() const { return std::min<int64_t>(m_, width_); }
  int64_t column_tiles() const { return width_ / std::min<int64_t>(width_, kTileColumns); }  // of a block, at most
  int64_t slots() const { return ceil_div(block_rows(), tile_rows()); }

  // Calls, block after block, start(block), body(tile, thread) for each of its tiles, and finish(block). start and
  // finish run on the calling thread. None of the three may throw.
  template <class Start, class Body, class Finish>
  void run(const duet_context& context, Start&& start, Body&& body, Finish&& finish) const {
    for (int64_t column = 0; column < m_; column += width_) {
      for (int64_t row = 0; row < n_; row += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, n_ - row), columns = std::min<int64_t>(width_, m_ - column);
        const Block block{row, rows, column, columns, ceil_div(rows, kTileRows)};
        start(block);
        parallel_for(context, block.slots, [&](int64_t slot, int thread) {
          const int64_t r = slot * kTileRows, tile_height = std::min(kTileRows, rows - r);
          for (int64_t c = 0; c < columns; c += kTileColumns)
            body(Tile{row + r, tile_height, column + c, std::min(kTileColumns, columns - c), slot, r, c}, thread);
        });
        finish(block);
      }
    }
  }
  template <class Body, class Finish>
  void run(const duet_context& context, Body&& body, Finish&& finish) const {
    run(
        context, [](const Block&) {}, body, finish);
  }

 private:
  int64_t n_, m_;
  Width width_;
};

// A number that all tiles add to: in float64 over the columns of a row tile, in their order, then over the row tiles by
// the tree, whose nodes are float32.
class SlotSum {
 public:
  SlotSum(Workspace& workspace, const Sweep& sweep)
      : count_(sweep.row_tiles()), tiles_(workspace.take<double>(count_)) {}

  void begin() { std::fill_n(tiles_, count_, 0.0); }
  void add(const Tile& tile, double part) { tiles_[tile.first_row / Sweep::kTileRows] += part; }
  // Over all tiles so far.
  float value() const;

 private:
  int64_t count_;
  double* tiles_;  // row tiles
};

// The second operand of a block's scores: the rows of v that are its columns, packed for it alone.
class BlockScores {
 public:
  BlockScores(Workspace& workspace, const Sweep& sweep, int64_t d)
      : storage_(workspace.take<float>(packed_size(sweep.block_columns(), d))) {}

  void pack(const duet_context& context, const Block& block, Matrix<const float> v) {
    if (block.first_row > 0) return;  // the block before had the same columns
    packed_ = pack_rows(context, v.part(block.first_column, 0, block.columns, v.columns), storage_);
  }
  // out (tile.rows x tile.columns) = a_i.v_j
  void fill(const Tile& tile, Matrix<const float> a, Matrix<float> out) const {
    tile_product(a.part(tile.first_row, 0, tile.rows, a.columns), packed_, tile.block_column, out);
  }

 private:
  float* storage_;
  PackedRows packed_;
};

// The two products that end every backward sweep, block after block, for a block's G (block.rows x block.columns, kept
// in scratch):
// grad_a rows of the block += G v, grad_v rows of the block's columns += G^T a, the latter a sum over all rows by the
// tree of row_tree.h; where differences are asked for, row j of grad_v += sum_i G_ij (a_i - v_j). Blocks come as Sweep
// has them, those of the same columns one after another. Every block but the last of them has 16 times a power of 2
// rows.
class BlockGradients {
 public:
  // n: rows of a. block_rows, block_columns: of a block, at most. differences: see above.
  BlockGradients(Workspace& workspace, const duet_context& context, int64_t n, int64_t block_rows,
                 int64_t block_columns, int64_t d, bool differences = false);

  // A gradient without data is not computed. The term that is added to a gradient is multiplied by its factor; with
  // factor 0 nothing is computed.
  void begin(Matrix<const float> a, Matrix<const float> v, Matrix<float> grad_a, Matrix<float> grad_v,
             float factor_a = 1, float factor_v = 1);
  void add(const duet_context& context, const Block& block, Matrix<const float> g);

 private:
  void add_columns(const Block& block, Matrix<const float> g, int64_t first, int64_t count, int thread) const;

  bool differences_;
  int64_t block_rows_;  // of every block but the last
  int64_t blocks_;      // of the same columns
  int64_t item_rows_;   // of grad_v in a work item
  int64_t scratch_size_, node_size_;
  float* packed_v_;
  float* scratch_;        // threads x scratch_size_
  float* nodes_;          // levels x node_size_: sums over rows that wait
  PackedColumns packed_;  // of the block's columns
  Matrix<const float> a_, v_;
  Matrix<float> grad_a_, grad_v_;
  float factor_a_ = 1, factor_v_ = 1;
};

}  // namespace duet::cpu
