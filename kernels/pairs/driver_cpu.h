// The loops of an operation on all pairs of rows, once for all of them on the CPU: a sweep over the tiles, what it has
// summed brought to every row and column; backward, a sweep that forms a block's gradient by the scores, and the
// products that end it. An operation says what a tile, a block, a row and a column mean.
#pragma once

#include "kernels/cpu/softmax_sweep.h"
#include "kernels/cpu/sweep.h"

namespace duet::cpu {

// Tiles of scores for each thread.
class ThreadTiles {
 public:
  ThreadTiles(Workspace& workspace, const duet_context& context, const Sweep& sweep, int64_t each)
      : rows_(sweep.tile_rows()),
        stride_(padded(sweep.tile_columns())),
        each_(each),
        data_(workspace.take<float>(context.threads * each * rows_ * stride_)) {}

  // which < each.
  Matrix<float> tile(const Tile& tile, int thread, int64_t which = 0) const {
    return {data_ + (thread * each_ + which) * rows_ * stride_, tile.rows, tile.columns, stride_};
  }

 private:
  int64_t rows_, stride_, each_;
  float* data_;
};

// body(k) for every row, or every column, over the threads.
template <class Body>
void for_each_line(const duet_context& context, int64_t count, Body&& body) {
  constexpr int64_t kLines = 512;  // of a work item
  parallel_chunks(context, count, kLines, [&](int64_t first, int64_t chunk, int) {
    for (int64_t k = first; k < first + chunk; ++k) body(k);
  });
}

// Operation:
//   void pack(const Block&)                   what a block's tiles read
//   void take(const Tile&, int thread)        sums a tile
//   void merge(const Block&)                  what its tiles said of their columns
//   void row(int64_t i), column(int64_t j)    what becomes of the sums, once all are there
// row is called for n rows, column for m columns: all, or none where nobody asks for them.
template <class Operation>
void pairs_forward(const duet_context& context, const Sweep& sweep, int64_t n, int64_t m, Operation&& operation) {
  sweep.run(
      context, [&](const Block& block) { operation.pack(block); },
      [&](const Tile& tile, int thread) { operation.take(tile, thread); },
      [&](const Block& block) { operation.merge(block); });
  for_each_line(context, n, [&](int64_t i) { operation.row(i); });
  for_each_line(context, m, [&](int64_t j) { operation.column(j); });
}

// Operation:
//   void pack(const Block&)
//   double form(const Tile&, int thread, Matrix<float> gradient)  writes the tile's d loss/d dots
//   void add(const Block&, Matrix<float> gradient)                the block's products
// form returns the tile's part of d loss/d scale, 0 where there is no scale; their sum is returned.
template <class Operation>
float pairs_backward(const duet_context& context, const Sweep& sweep, ScoreGradient& gradient, Operation&& operation) {
  gradient.begin();
  sweep.run(
      context, [&](const Block& block) { operation.pack(block); },
      [&](const Tile& tile, int thread) { gradient.close(tile, operation.form(tile, thread, gradient.tile(tile))); },
      [&](const Block& block) { operation.add(block, gradient.merge(block)); });
  return gradient.scale();
}

}  // namespace duet::cpu
