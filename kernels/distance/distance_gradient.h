// From dL/dD to the gradients of the rows (METHOD.md 1), block after block: what the backward passes of distance, triplet and alignment share.
#pragma once

#include "kernels/cpu/sweep.h"
#include "kernels/distance/distance_tile.h"

namespace duet::cpu {

class DistanceGradients {
 public:
  // Row and column sums, for cosine the gradients of the unit rows.
  DistanceGradients(Workspace& workspace, duet_metric metric, int64_t n, int64_t m, int64_t d);

  // tiles must be prepared and outlive the pass. A gradient without data is not computed.
  void begin(const duet_context& context, const DistanceTiles& tiles, Matrix<float> grad_x, Matrix<float> grad_y);

  // g (r x c) holds dL/dD of a tile whose first row is first_row and becomes in place the factor of the products; distances, the tile's D, are
  // read for euclidean alone. One thread at a time may hand in tiles of the same row.
  void take_tile(int64_t first_row, Matrix<const float> distances, Matrix<float> g);

  // Once all tiles of a block were taken: g is the block's (block.rows x block.columns).
  void add_block(const duet_context& context, const Block& block, Matrix<const float> g);

  // After the last block.
  void finish(const duet_context& context);

 private:
  const DistanceTiles* tiles_ = nullptr;
  duet_metric metric_;
  double *row_sum_ = nullptr, *column_sum_ = nullptr;  // n, m; euclidean and sqeuclidean
  Matrix<float> unit_x_, unit_y_;                      // n x d, m x d; cosine
  Matrix<float> grad_x_, grad_y_;
};

}  // namespace duet::cpu
