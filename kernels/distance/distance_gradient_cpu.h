// From dL/dD to the gradients of the rows (METHOD.md 1), block after block: what the backward passes of distance,
// triplet and alignment share.
#pragma once

#include "kernels/cpu/sweep.h"
#include "kernels/distance/distance_tile_cpu.h"

namespace duet::cpu {

class DistanceGradients {
 public:
  // Row sums, for cosine the gradients of the unit rows, for both of cosine and euclidean a bit for each
  // pair of a block.
  DistanceGradients(Workspace& workspace, const duet_context& context, duet_metric metric, int64_t n, int64_t m,
                    int64_t d, int64_t block_rows, int64_t block_columns);

  // tiles must be prepared and outlive the pass. A gradient without data is not computed.
  void begin(const DistanceTiles& tiles, Matrix<float> grad_x, Matrix<float> grad_y);

  // given (r x c), dL/dD of the tile, becomes in g, which may be the same, the factor of the products; distances, the
  // tile's D, are read for euclidean, and for cosine where they are given: close pairs then keep their digits.
  // One thread at a time may hand in tiles of the same row; tile.block_column is a multiple of 64.
  void take_tile(const Tile& tile, Matrix<const float> distances, Matrix<const float> given, Matrix<float> g);

  // Once all tiles of a block were taken: g is the block's (block.rows x block.columns), and scratch afterwards.
  void add_block(const duet_context& context, const Block& block, Matrix<float> g);

  // After the last block.
  void finish(const duet_context& context);

 private:
  // A row as given and what makes it a unit row, 1 where none is wanted.
  struct CloseRow {
    const float* row;
    double factor;
  };
  double mark_close(const Tile& tile, int64_t i, const float* distances, const float* g);
  void add_close_pair(float factor, const CloseRow& x, const CloseRow& y, float* grad) const;
  void add_close_pairs(const duet_context& context, const Block& block, Matrix<float> g);

  const DistanceTiles* tiles_ = nullptr;
  duet_metric metric_;
  double* row_sum_ = nullptr;  // n: what grad_x leaves out until finish(); euclidean and sqeuclidean
  BlockGradients products_;
  Matrix<float> unit_x_, unit_y_;  // n x d, m x d; cosine
  // Pairs of the block whose gradient is formed from the difference of their rows, by_difference(). euclidean and
  // cosine
  Matrix<uint64_t> close_;        // block rows x words of 64 columns
  uint8_t* has_close_ = nullptr;  // block rows
  Matrix<float> grad_x_, grad_y_;
};

}  // namespace duet::cpu
