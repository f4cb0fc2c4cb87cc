#include <algorithm>

#include "kernels/distance/distance_tile_cuda.h"

namespace duet::cuda {

DistanceRows::DistanceRows(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n, int64_t m, int64_t d) {
  const auto norms = [&](int64_t rows) {
    RowNorms of_rows;
    of_rows.square = workspace.take<float>(packed_rows(rows));
    if (metric == DUET_COSINE) {
      of_rows.norm = workspace.take<float>(packed_rows(rows));
      of_rows.inverse = workspace.take<float>(packed_rows(rows));
    }
    return of_rows;
  };
  norms_x_ = norms(n);
  norms_y_ = norms(m);
  // METHOD.md 1; a cosine distance of unit rows is half their squared distance.
  const double near = 4e-4 * std::max(1.0, static_cast<double>(d) / 128);
  view_.x = take_rows(workspace, precision, n, d);
  view_.y = take_rows(workspace, precision, m, d);
  view_.square_x = norms_x_.square;
  view_.square_y = norms_y_.square;
  view_.near = static_cast<float>(metric == DUET_COSINE ? near / 2 : near);
  view_.metric = metric;
}

void DistanceRows::prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y) const {
  pack_rows(context, x, norms_x_, view_.x);
  pack_rows(context, y, norms_y_, view_.y);
}

}  // namespace duet::cuda
