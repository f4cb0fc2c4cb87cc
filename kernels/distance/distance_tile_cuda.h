// One tile of pairwise distances on the GPU (METHOD.md 1): what distance, mining, triplet, alignment and retrieval share.
//   DistanceRows rows(workspace, context.precision, metric, n, m, d);  rows.prepare(context, x, y);     on the host
//   fill_distances<T>(shared, rows.view(), place.first_row, place.first_column, values);                in a kernel, all threads of the block
#pragma once

#include "kernels/cuda/sweep.h"
#include "kernels/distance/distance.h"

namespace duet::cuda {

// What a kernel needs of both sides' rows. Every metric is constant_x + constant_y - factor x.y, and the root of it for euclidean.
struct DistanceView {
  Packed x, y;                       // of unit rows for cosine
  const float *square_x, *square_y;  // squared norms of the packed rows
  float near;                        // share of the larger squared norm below which the expansion is not trusted
  duet_metric metric;
};

class DistanceRows {
 public:
  DistanceRows(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n, int64_t m, int64_t d);

  void prepare(const duet_context& context, Matrix<const float> x, Matrix<const float> y) const;
  const DistanceView& view() const { return view_; }
  // Of the rows given and 1 / them; cosine alone, null otherwise.
  const RowNorms& norms_x() const { return norms_x_; }
  const RowNorms& norms_y() const { return norms_y_; }

 private:
  DistanceView view_;
  RowNorms norms_x_, norms_y_;
};

// sum_k (x_k - y_k)^2 of packed rows; with exact in float64 instead, written there.
template <duet_precision P>
__device__ __forceinline__ float squared_difference(const uint32_t* x, const uint32_t* y, int64_t words, double* exact) {
  float sum[4] = {};
  double wide = 0;
  for (int64_t w = 0; w < words; w += 4) {
    const uint4 a = __ldg(reinterpret_cast<const uint4*>(x + w)), b = __ldg(reinterpret_cast<const uint4*>(y + w));
    const unsigned of_a[4] = {a.x, a.y, a.z, a.w}, of_b[4] = {b.x, b.y, b.z, b.w};
    DUET_UNROLL
    for (int k = 0; k < 4; ++k) {
      DUET_UNROLL
      for (int e = 0; e < elements_of_word(P); ++e) {
        // A bf16 is the high half of a float32.
        const unsigned from = P != DUET_PRECISION_BF16 ? of_a[k] : e ? of_a[k] & 0xffff0000u : of_a[k] << 16;
        const unsigned to = P != DUET_PRECISION_BF16 ? of_b[k] : e ? of_b[k] & 0xffff0000u : of_b[k] << 16;
        const float difference = __uint_as_float(from) - __uint_as_float(to);
        if (exact)
          wide += static_cast<double>(difference) * difference;
        else
          sum[k] = fmaf(difference, difference, sum[k]);
      }
    }
  }
  if (exact) *exact = wide;
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// A pair that the expansion cannot tell: too close, beyond float32's range on the way, or NaN.
template <duet_precision P>
__device__ __forceinline__ float direct_distance(const DistanceView& rows, int64_t i, int64_t j) {
  constexpr float kLargest = 3.402823466e38f;
  const uint32_t *x = rows.x.row(i), *y = rows.y.row(j);
  const float sum = squared_difference<P>(x, y, rows.x.stride, nullptr);
  if (rows.metric == DUET_COSINE) return 0.5f * (sum + (1 - rows.square_x[i]) + (1 - rows.square_y[j]));  // rows shorter than eps have no unit copy
  if (sum <= kLargest) return rows.metric == DUET_EUCLIDEAN ? sqrtf(sum) : sum;
  double exact = 0;
  squared_difference<P>(x, y, rows.x.stride, &exact);
  return static_cast<float>(rows.metric == DUET_EUCLIDEAN ? sqrt(exact) : exact);
}

// values = the distances of kTileRows rows of x to T::kColumns rows of y; inner: their products. All threads of the block.
template <class T>
__device__ __forceinline__ void fill_distances(uint32_t* shared, const DistanceView& rows, int64_t first_row, int64_t first_column,
                                               typename T::Values& values) {
  constexpr float kLargest = 3.402823466e38f;
  constexpr bool kExact = is_exact(T::kPrecision);
  T::multiply(shared, rows.x.row(first_row), rows.x.stride, rows.y.row(first_column), rows.y.stride, rows.x.steps(), values);
  if (rows.metric == DUET_INNER) return;
  const bool cosine = rows.metric == DUET_COSINE, root = rows.metric == DUET_EUCLIDEAN;
  const float factor = cosine ? 1 : 2;
  float y[T::kThreadColumns];
  DUET_UNROLL
  for (int c = 0; c < T::kThreadColumns; ++c) y[c] = cosine ? 0 : rows.square_y[first_column + T::column(c)];
  unsigned untold[T::kValues / 32] = {}, any = 0;
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) {
    const float x = cosine ? 1 : rows.square_x[first_row + T::row(r)];
    DUET_UNROLL
    for (int c = 0; c < T::kThreadColumns; ++c) {
      float value = fmaf(-factor, values(r, c), x + y[c]);
      // Written so that NaN is not told. TF32 and bf16 hold no digits below: there what is negative is 0.
      bool told = value <= kLargest;
      if constexpr (kExact)
        told = told && value > rows.near * fmaxf(x, y[c]);
      else
        value = value < 0 ? 0 : value;
      const int k = r * T::kThreadColumns + c;
      untold[k / 32] |= told ? 0 : 1u << k % 32;
      values(r, c) = root ? sqrtf(value) : value;
    }
  }
  DUET_UNROLL
  for (int k = 0; k < T::kValues / 32; ++k) any |= untold[k];
  if (any)
    T::replace(
        shared, untold, [&](int row, int column) { return direct_distance<T::kPrecision>(rows, first_row + row, first_column + column); }, values);
}

}  // namespace duet::cuda
