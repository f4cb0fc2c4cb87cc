// The scores of blocks of queries against the whole gallery, which the measures and the k best both read.
#pragma once

#include "kernels/cuda/row_blocks.h"
#include "kernels/cuda/warp.h"
#include "kernels/distance/distance_backends.h"
#include "kernels/retrieval/retrieval_backends.h"

namespace duet::cuda {

// Rises as the score falls, equal for equal scores; kNoScore, the largest, for NaN.
inline constexpr uint32_t kNoScore = ~0u;
__device__ inline uint32_t score_bits(float score) {
  return isnan(score) ? kNoScore : ~rising_bits(cosine_score(score));
}
// Ascending keys are ranks: higher score first, then lower index, NaN last.
__device__ inline uint64_t rank_key(float score, int64_t index) { return row_key(score_bits(score), index); }

// Equal rows have equal scores wherever they stand, because an element of a tile product depends on its two rows alone.
struct Scores {
  Scores(Workspace& workspace, const duet_context& context, int64_t n, int64_t m, int64_t d)
      : height(block_rows(n, m)),
        queries(workspace.take_matrix<float>(height, d)),
        gallery(workspace.take_matrix<float>(m, d)),
        scores(workspace.take_matrix<float>(height, m)),
        tile_bytes(distance_workspace(context, {queries, gallery, DUET_METRIC_INNER})),
        tiles(workspace.take<char>(static_cast<int64_t>(tile_bytes))) {}

  // Calls use(first query, the scores of the queries from there on).
  template <class Use>
  void for_each_block(const duet_context& context, const RetrievalInputs& inputs, Use&& use) const {
    normalise(context, inputs.gallery, gallery);
    for_each_row_block(inputs.queries.rows, height, [&](int64_t first, int64_t rows) {
      const auto part = queries.part(0, 0, rows, queries.columns);
      const auto block = scores.part(0, 0, rows, scores.columns);
      normalise(context, inputs.queries.part(first, 0, rows, queries.columns), part);
      distance_forward(context, {part, gallery, DUET_METRIC_INNER}, block, {tiles, tile_bytes});
      use(first, block);
    });
  }

  int64_t height;
  Matrix<float> queries, gallery;  // rows of unit length; of a block of queries, of the whole gallery
  Matrix<float> scores;            // of a block
  size_t tile_bytes;
  void* tiles;

 private:
  static void normalise(const duet_context& context, Matrix<const float> rows, Matrix<float> unit);
};

}  // namespace duet::cuda
