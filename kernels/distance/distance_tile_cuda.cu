// No kernel of its own: the rows that distance_tile_cuda.h's tiles read, packed with their norms.
// Bytes: a row's elements once, as many words and 4 to 24 bytes of norms written (cuda/pack.h).
// Products: none.
#include "kernels/distance/distance_tile_cuda.h"

namespace duet::cuda {

DistanceRows::DistanceRows(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n, int64_t m,
                           int64_t d) {
  const auto norms = [&](int64_t rows) {
    RowNorms of_rows;
    of_rows.square = workspace.take<float>(packed_rows(rows));
    if (metric == DUET_METRIC_COSINE) {
      of_rows.length = workspace.take<double>(packed_rows(rows));
      of_rows.inverse = workspace.take<double>(packed_rows(rows));
    }
    return of_rows;
  };
  norms_x_ = norms(n);
  norms_y_ = norms(m);
  view_.x = reserve_rows(workspace, precision, n, d);
  view_.y = reserve_rows(workspace, precision, m, d);
  view_.square_x = norms_x_.square;
  view_.square_y = norms_y_.square;
  view_.near = closeness(metric, static_cast<double>(d));
  const bool euclidean = metric == DUET_METRIC_EUCLIDEAN;
  view_.one = metric == DUET_METRIC_COSINE ? 1 : 0;
  view_.least = euclidean ? kSmallestSquare : 0;
  view_.far = euclidean ? kFarEuclidean : INFINITY;
  view_.metric = metric;
  view_.length_x = norms_x_.length;
  view_.length_y = norms_y_.length;
}

void DistanceRows::prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y) {
  view_.given_x = x;
  view_.given_y = y;
  pack_rows(context, x, norms_x_, view_.x);
  pack_rows(context, y, norms_y_, view_.y);
}

}  // namespace duet::cuda
