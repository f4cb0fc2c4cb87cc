// Distances of one row to all rows of the other side, and the gradients of few rows (METHOD.md 1), where a launch costs
// more than its products: rows are read as given, nothing is packed or merged, and everything is formed from
// differences of rows, which cancel nothing.
//   DistanceRow row(metric, near, shared, x.row(i), d);               in a kernel, whole blocks
//   distances_of_row(row, y, distances, lengths);                     likewise
//   small_distance_gradients(context, SmallDistanceGradients{...});   on the host, one launch
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/cuda/warp.h"
#include "kernels/distance/distance_formula.h"

namespace duet::cuda {

// Lanes that share a column: one load of theirs is 32 bytes of its row, a sector, and three exchanges add up what they
// have.
inline constexpr int kColumnLanes = 8;

// body(j, part, inside) for the kColumnLanes threads of each column; all lanes of a warp go round together, those past
// m with the last column.
template <class Body>
__device__ __forceinline__ void for_each_column(int64_t m, const Body& body) {
  const int column = thread_of_block() / kColumnLanes, part = thread_of_block() % kColumnLanes,
            columns = threads_of_block() / kColumnLanes;
  for (int64_t first = column - lane_of_warp() / kColumnLanes; first < m; first += columns) {
    const int64_t j = first + lane_of_warp() / kColumnLanes;
    body(j < m ? j : m - 1, part, j < m);
  }
}

// body(k, row[k]) for part's elements of a row, in order, with eight loads under way at a time.
template <class Body>
__device__ __forceinline__ void for_each_of_part(const float* row, int64_t d, int part, const Body& body) {
  constexpr int kAtOnce = 8;
  for (int64_t first = part; first < d; first += kAtOnce * kColumnLanes) {
    float values[kAtOnce];
    DUET_UNROLL
    for (int e = 0; e < kAtOnce; ++e) values[e] = first + e * kColumnLanes < d ? row[first + e * kColumnLanes] : 0;
    DUET_UNROLL
    for (int e = 0; e < kAtOnce; ++e)
      if (first + e * kColumnLanes < d) body(first + e * kColumnLanes, values[e]);
  }
}

// A row in shared memory and what its distances need.
struct DistanceRow {
  duet_metric metric;
  float near;         // closeness()
  const float* row;   // d
  const float* unit;  // d: the unit row, rounded once; cosine alone
  double length;      // of the row
  float square;       // its square; of cosine 1

  // Floats that construction fills.
  DUET_HOST_DEVICE static constexpr int64_t floats(duet_metric metric, int64_t d) {
    return metric == DUET_METRIC_COSINE ? 2 * d : d;
  }

  // For whole blocks; ends with a barrier. shared: floats(metric, d).
  __device__ DistanceRow(duet_metric of_metric, float closeness, float* shared, const float* given, int64_t d)
      : metric(of_metric), near(closeness), row(shared), unit(shared + d) {
    for (int64_t k = threadIdx.x; k < d; k += blockDim.x) shared[k] = given[k];
    __syncthreads();
    double sum = 0;  // each warp for itself
    for (int64_t k = lane_of_warp(); k < d; k += 32) sum += static_cast<double>(row[k]) * row[k];
    length = sqrt(warp_sum(sum));
    square = metric == DUET_METRIC_COSINE ? 1 : static_cast<float>(length * length);
    if (metric != DUET_METRIC_COSINE) return;
    const double inverse = inverse_norm(length);
    for (int64_t k = threadIdx.x; k < d; k += blockDim.x) shared[d + k] = static_cast<float>(row[k] * inverse);
    __syncthreads();
  }

  // The same row for Euclidean distances.
  __device__ void as_euclidean(float closeness) {
    metric = DUET_METRIC_EUCLIDEAN, near = closeness, square = static_cast<float>(length * length);
  }
};

// distances[j] = that of the row to y_j. Where lengths is not null, cosine leaves the norms of y there. For whole
// blocks, without a barrier.
__device__ inline void distances_of_row(const DistanceRow& x, Matrix<const float> y, float* distances,
                                        double* lengths) {
  const int64_t d = y.columns;
  for_each_column(y.rows, [&](int64_t j, int part, bool inside) {
    const float* const other = y.row(j);
    double length = 1, factor_x = 1, factor_y = 1;
    float value = 0, square = 0;
    if (x.metric == DUET_METRIC_COSINE) {
      double sum = 0;
      for_each_of_part(other, d, part, [&](int64_t, float y_k) { sum += static_cast<double>(y_k) * y_k; });
      length = sqrt(warp_sum<kColumnLanes>(sum));
      factor_x = inverse_norm(x.length), factor_y = inverse_norm(length);
      for_each_of_part(other, d, part, [&](int64_t k, float y_k) {
        value = fmaf(x.unit[k], static_cast<float>(y_k * factor_y), value);
      });
      value = 1 - warp_sum<kColumnLanes>(value);
    } else {
      for_each_of_part(other, d, part, [&](int64_t k, float y_k) {
        const float difference = x.row[k] - y_k;
        value = fmaf(difference, difference, value);
        square = fmaf(y_k, y_k, square);
      });
      value = warp_sum<kColumnLanes>(value);
      square = warp_sum<kColumnLanes>(square);
    }
    const bool told = is_told(value, x.near, fmaxf(x.square, square));
    float distance = x.metric == DUET_METRIC_EUCLIDEAN ? sqrtf(value) : value;
    if (__any_sync(kAllLanes, !told)) {
      double sum = 0;
      for (int64_t k = part; k < d; k += kColumnLanes) {
        const double difference = x.row[k] * factor_x - other[k] * factor_y;
        sum += difference * difference;
      }
      sum = warp_sum<kColumnLanes>(sum);
      if (!told) distance = distance_of_square(x.metric, sum, x.length, length);
    }
    if (x.metric == DUET_METRIC_COSINE && distance > 2)
      distance = 2;  // opposite rows by the rounding of their product; NaN stays
    if (!inside || part != 0) return;
    distances[j] = distance;
    if (lengths != nullptr && x.metric == DUET_METRIC_COSINE) lengths[j] = length;
  });
}

// products[j] = row . others_j; row in shared memory. For whole blocks, without a barrier.
__device__ inline void products_of_row(const float* row, Matrix<const float> others, float* products) {
  for_each_column(others.rows, [&](int64_t j, int part, bool inside) {
    float product = 0;
    for_each_of_part(others.row(j), others.columns, part,
                     [&](int64_t k, float other) { product = fmaf(row[k], other, product); });
    product = warp_sum<kColumnLanes>(product);
    if (inside && part == 0) products[j] = product;
  });
}

inline constexpr int64_t kMostSmallPairs =
    1024;  // rows and columns: 24 bytes of shared memory for each that a row is paired with

// dL/dD of n x m pairs and D, to the gradients of the rows.
struct SmallDistanceGradients {
  Matrix<const float> x, y;            // n x d, m x d
  duet_metric metric;                  // no inner
  Matrix<const float> distances, g;    // n x m; of sqeuclidean distances is not read
  const double *length_x, *length_y;   // norms of the rows; cosine alone
  Matrix<float> grad_x, grad_y;        // a gradient without data is not computed
  bool adds;                           // to what the gradients hold; else they are written
  const float* unless_zero = nullptr;  // see points_to_zero(); for gradients that are added to
};
void small_distance_gradients(const duet_context& context, const SmallDistanceGradients& gradients);

}  // namespace duet::cuda
