// One tile of pairwise distances on the GPU (METHOD.md 1): what distance, mining, triplet, alignment and retrieval
// share.
//   DistanceRows rows(workspace, context.precision, metric, n, m, d);  rows.prepare(context, x, y);     on the host
//   fill_distances<T>(shared, rows.view(), place, values);      in a kernel, all threads of the block
//   fill_distances<T>(loop, rows.view(), walk.place(tile), walk.place(tile + 1), values);   in one that walks (sweep.h)
#pragma once

#include "kernels/cuda/sweep.h"
#include "kernels/distance/distance_formula.h"

namespace duet::cuda {

// What a kernel needs of both sides' rows. Every metric is constant_x + constant_y - factor x.y, and the root of it for
// euclidean.
struct DistanceView {
  Packed x, y;                       // of unit rows for cosine
  const float *square_x, *square_y;  // squared norms of the packed rows
  float near;                        // closeness()
  // by_difference() of every metric in one form, distance (euclidean ? distance : one) < max(near larger square, least)
  // or distance > far: arguments of a kernel take no register of its.
  float one, least, far;
  duet_metric metric;
  // For the pairs that the products cannot tell: the rows as given and, for cosine alone, null otherwise, their norms.
  Matrix<const float> given_x, given_y;
  const double *length_x, *length_y;
};

class DistanceRows {
 public:
  DistanceRows(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n, int64_t m, int64_t d);

  void prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y);
  const DistanceView& view() const { return view_; }
  // Of the rows given and 1 / them; cosine alone, null otherwise.
  const RowNorms& norms_x() const { return norms_x_; }
  const RowNorms& norms_y() const { return norms_y_; }

 private:
  DistanceView view_;
  RowNorms norms_x_, norms_y_;
};

// A pair that the product cannot tell: too close, outside float32's range on the way, or NaN. In float64, for rare
// pairs, beside a tile in registers.
__device__ __forceinline__ float direct_distance(const DistanceView& rows, int64_t i, int64_t j) {
  if (i >= rows.given_x.rows || j >= rows.given_y.rows) return 0;  // what pads a tile beside a NaN
  const float *x = rows.given_x.row(i), *y = rows.given_y.row(j);
  const double length_x = rows.length_x ? rows.length_x[i] : 1, length_y = rows.length_y ? rows.length_y[j] : 1;
  const double factor_x = inverse_norm(length_x), factor_y = inverse_norm(length_y);
  double square = 0;
  DUET_NO_UNROLL
  for (int64_t k = 0; k < rows.given_x.columns; ++k) {
    const double difference = __ldg(x + k) * factor_x - __ldg(y + k) * factor_y;
    square += difference * difference;
  }
  return distance_of_square(rows.metric, square, length_x, length_y);
}

// The products of a tile become its distances, in place. All threads of the block; shared as the products have left it.
template <class T>
__device__ __forceinline__ void distances_of_products(uint32_t* shared, const DistanceView& rows,
                                                      const TilePlace& place, typename T::Values& values) {
  constexpr bool kExact = is_exact(T::kPrecision);
  if (rows.metric == DUET_METRIC_INNER) return;
  const bool cosine = rows.metric == DUET_METRIC_COSINE;
  const float factor = cosine ? 1 : 2;
  float y[T::kThreadColumns];
  DUET_UNROLL
  for (int c = 0; c < T::kThreadColumns; ++c) y[c] = cosine ? 0 : rows.square_y[place.first_column + T::column(c)];
  unsigned untold[T::kValues / 32] = {}, any = 0;
  const auto mark = [&](int r, int c, bool told) {  // written so that NaN is not told
    const int k = r * T::kThreadColumns + c;
    untold[k / 32] |= told ? 0 : 1u << k % 32;
  };
  bool in_range = true;
  const auto of_products = [&](auto with_root) {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const float x = cosine ? 1 : rows.square_x[place.first_row + T::row(r)];
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) {
        const float value = fmaf(-factor, values(r, c), x + y[c]);
        if constexpr (kExact) {
          mark(r, c, is_told(value, rows.near, fmaxf(x, y[c])));
        } else {  // TF32 and bf16 hold no digits of close pairs: there what is negative is 0, and NaN stays
          in_range &= value <= kLargestFloat;
        }
        const float square = !kExact && value < 0 ? 0 : value;
        values(r, c) = decltype(with_root)::value ? ptx::sqrt(square) : square;
      }
    }
  };
  if (rows.metric == DUET_METRIC_EUCLIDEAN)
    of_products(std::true_type());
  else
    of_products(std::false_type());
  if (!in_range) {
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) mark(r, c, values(r, c) <= kLargestFloat);
    }
  }
  DUET_UNROLL
  for (int k = 0; k < T::kValues / 32; ++k) any |= untold[k];
  if (any) {
    T::replace(
        shared, untold,
        [&](int r, int c) { return direct_distance(rows, place.first_row + r, place.first_column + c); }, values);
  }
  if (cosine)
    T::for_each(values, [](float& value) {
      value = value > 2 ? 2 : value;
    });                                   // opposite rows by the rounding of their product; NaN stays
  if constexpr (kExact) __syncthreads();  // what replaced pairs went through
}

// values = the distances of a tile; inner: their products. The next tile's loads begin. All threads of the block.
template <class T>
__device__ __forceinline__ void fill_distances(typename T::Loop& loop, const DistanceView& rows, const TilePlace& place,
                                               const TilePlace& next, typename T::Values& values) {
  T::multiply(loop, operands_of<T>(rows.x, rows.y, place, true), operands_of<T>(rows.x, rows.y, next, true), values);
  distances_of_products<T>(loop.shared, rows, place, values);
}
// One tile alone.
template <class T>
__device__ __forceinline__ void fill_distances(uint32_t* shared, const DistanceView& rows, const TilePlace& place,
                                               typename T::Values& values) {
  T::multiply(shared, operands_of<T>(rows.x, rows.y, place), values);
  distances_of_products<T>(shared, rows, place, values);
}

}  // namespace duet::cuda
