// One tile of pairwise distances from prepared rows (METHOD.md 1): what distance, mining, triplet and alignment share.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/distance/distance_formula.h"

namespace duet::cpu {

// The rows of one tile's pairs, as given.
struct DistanceRows {
  Matrix<const float> x, y;
  const float *square_x, *square_y;
  const double *norm_x, *norm_y;  // cosine
  float near;
};

class DistanceTiles {
 public:
  // Takes what the rows of one call need: their squared norms, for cosine unit copies of them as well. On a measuring
  // workspace it is only good for its size.
  DistanceTiles(Workspace& workspace, duet_metric metric, int64_t n, int64_t m, int64_t d);

  // Reads x (n x d) and y (m x d); both must outlive the tiles.
  void prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y);

  // out (r x c) = the distances of rows first_row.. of x to rows first_column.. of y; inner: their products. Any
  // thread, any tile; first_column a multiple of panel_width().
  void fill(int64_t first_row, int64_t first_column, Matrix<float> out) const;
  // The same by way of scratch (r x c), for an out that is written once and not read soon: where its rows are aligned,
  // past the caches.
  void store(int64_t first_row, int64_t first_column, Matrix<float> scratch, Matrix<float> out) const;

  duet_metric metric() const { return metric_; }
  // What the products are taken of: the rows given, for cosine their unit copies.
  Matrix<const float> x() const { return x_.rows; }
  Matrix<const float> y() const { return y_.rows; }
  // Squared norms of those rows (not for inner), and closeness() of distance_formula.h.
  const float* squares_x() const { return x_.square; }
  const float* squares_y() const { return y_.square; }
  float near() const { return near_; }
  // The rows given and, for cosine alone, their norms.
  Matrix<const float> given_x() const { return x_.given; }
  Matrix<const float> given_y() const { return y_.given; }
  const double* norms_x() const { return x_.norm; }
  const double* norms_y() const { return y_.norm; }

 private:
  struct Side {
    Matrix<const float> given;
    Matrix<const float> rows;  // what the products are taken of
    Matrix<float> unit;        // cosine
    double* norm = nullptr;    // cosine
    float* square = nullptr;   // squared norms of rows; not for inner
  };
  Side take(Workspace& workspace, int64_t rows, int64_t d) const;
  void prepare(const duet_context& context, Side& side, Matrix<const float> given) const;
  void expand(int64_t first_row, int64_t first_column, Matrix<const float> products, bool once,
              Matrix<float> out) const;

  duet_metric metric_;
  float near_;
  Side x_, y_;
  float* storage_;     // of packed_
  PackedRows packed_;  // y
};

// sum_k (factor_x x_k - factor_y y_k)^2 in float64; 0 for equal rows.
double squared_difference(const float* x, double factor_x, const float* y, double factor_y, int64_t d);

}  // namespace duet::cpu
