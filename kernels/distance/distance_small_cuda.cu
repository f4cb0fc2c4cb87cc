// A block of 256 threads owns a row of x or of y: its threads elements of the gradient, the rest parts of the pairs.
// Bytes: every block reads the other side from L2, and 8 of a pair in shared memory.
// Products: none; differences of rows, which need no correction, in a fixed order. PLAN.md has the figures.
#include <algorithm>

#include "kernels/cuda/sweep.h"
#include "kernels/distance/distance_small_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;
[[maybe_unused]] constexpr int kBlocks =
    2;  // blocks an SM: 128 rows a side are two for each of 128, and with more, registers would spill
constexpr int kAtOnce = 8;  // loads of a thread that are under way together

struct WeighedPair {
  float weight;   // 0 of a pair that is added in float64
  float inverse;  // what the difference is multiplied by; 0 of a pair that is added in float64
};

constexpr size_t shared_bytes(duet_metric metric, int64_t pairs, int64_t d) {
  const size_t each = sizeof(WeighedPair) + sizeof(double), count = static_cast<size_t>(pairs);
  return count * each +
         (metric == DUET_METRIC_COSINE ? count * sizeof(double) + static_cast<size_t>(d) * sizeof(float) : 0);
}

// A pair that float32 gives no direction, or one that cancels. NaN has none of these.
__device__ bool needs_double(duet_metric metric, float distance, float near) {
  if (metric == DUET_METRIC_EUCLIDEAN) return (distance < kSmallestNormal) | (distance > kFarEuclidean);
  return metric == DUET_METRIC_COSINE && by_difference(metric, distance, near, 1);
}

__global__ void __launch_bounds__(kThreads, kBlocks)
    small_distance_gradient_kernel(SmallDistanceGradients in, float near) {
  DUET_SHARED_DYNAMIC(WeighedPair, pairs);
  DUET_SHARED(float, parts, [kThreads]);
  if (points_to_zero(in.unless_zero)) return;
  const int64_t of_x = in.grad_x ? in.x.rows : 0;
  const bool is_x = blockIdx.x < of_x;
  const int64_t row = is_x ? blockIdx.x : blockIdx.x - of_x, d = in.x.columns;
  const Matrix<const float> rows = is_x ? in.x : in.y, others = is_x ? in.y : in.x;
  const Matrix<float> grad = is_x ? in.grad_x : in.grad_y;
  const int64_t count = others.rows;
  float* const to = grad.row(row);
  if (count == 0) {  // nothing is added, not even 0 times a NaN
    for (int64_t k = threadIdx.x; !in.adds && k < d; k += kThreads) to[k] = 0;
    return;
  }
  const bool cosine = in.metric == DUET_METRIC_COSINE;
  auto* const factors = reinterpret_cast<double*>(pairs + count);  // of pairs that are added in float64
  double* const inverses = factors + count;                        // of the others' norms; cosine
  auto* const sums = reinterpret_cast<float*>(inverses + count);   // d; cosine
  const double length = cosine ? (is_x ? in.length_x : in.length_y)[row] : 1,
               inverse = cosine ? inverse_norm(length) : 1;
  const float* const own = rows.row(row);

  bool weighs = false, needs = false;
  for (int64_t j = threadIdx.x; j < count; j += kThreads) {
    const int64_t i = is_x ? row : j, column = is_x ? j : row;
    const float g = in.g.row(i)[column],
                distance = in.metric == DUET_METRIC_SQEUCLIDEAN ? 1 : in.distances.row(i)[column];
    const bool euclidean = in.metric == DUET_METRIC_EUCLIDEAN;
    // g / D of a distance that is NaN is NaN though g be 0.
    const float weight = in.metric == DUET_METRIC_SQEUCLIDEAN ? 2 * g : euclidean && isnan(distance) ? distance : g;
    const bool in_double = weight != 0 && needs_double(in.metric, distance, near);
    pairs[j] = {in_double ? 0 : weight, in_double ? 0 : euclidean && weight != 0 ? 1 / distance : 1};
    factors[j] = weight;
    if (cosine) inverses[j] = inverse_norm((is_x ? in.length_y : in.length_x)[j]);
    weighs |= weight != 0;
    needs |= in_double;
  }
  const bool any_weighs = __syncthreads_or(weighs) != 0, any_needs = __syncthreads_or(needs) != 0;
  if (any_needs && !cosine) {
    for (int64_t j = warp_of_block(); j < count; j += kThreads / 32) {
      if (pairs[j].inverse != 0) continue;
      double square = 0;
      for (int64_t k = lane_of_warp(); k < d; k += 32) {
        const double difference = static_cast<double>(own[k]) - others.row(j)[k];
        square += difference * difference;
      }
      square = warp_sum(square);
      if (lane_of_warp() == 0) factors[j] = square == 0 ? 0 : factors[j] / sqrt(square);
    }
    __syncthreads();
  }

  int lanes = 32;
  while (lanes < kThreads && lanes < d) lanes *= 2;
  const int groups = kThreads / lanes, lane = static_cast<int>(threadIdx.x) % lanes,
            group = static_cast<int>(threadIdx.x) / lanes;
  for (int64_t first = 0; first < d; first += lanes) {
    const int64_t k = first + lane;
    float sum = 0;
    if (k < d) {
      const float a = cosine ? static_cast<float>(own[k] * inverse) : own[k];
      for (int64_t from = group; from < count; from += kAtOnce * groups) {
        float other[kAtOnce];
        DUET_UNROLL
        for (int e = 0; e < kAtOnce; ++e) other[e] = from + e * groups < count ? others.row(from + e * groups)[k] : 0;
        DUET_UNROLL
        for (int e = 0; e < kAtOnce; ++e) {
          const int64_t j = from + e * groups;
          if (j >= count) break;
          const WeighedPair pair = pairs[j];
          const float b = cosine ? static_cast<float>(other[e] * inverses[j]) : other[e];
          // Of weight 0 only an other that is not finite shows, as in a product.
          sum = fmaf(pair.weight, pair.weight == 0 ? -b : (a - b) * pair.inverse, sum);
        }
      }
      for (int64_t j = group; any_needs && j < count; j += groups)
        if (pairs[j].inverse == 0)
          sum += static_cast<float>(factors[j] * (own[k] * inverse - others.row(j)[k] * (cosine ? inverses[j] : 1)));
      if (!any_weighs && !cosine && group == 0) sum = fmaf(0.0f, a, sum);
    }
    parts[threadIdx.x] = sum;
    __syncthreads();
    if (group == 0 && k < d) {
      for (int other = 1; other < groups; ++other) sum += parts[other * lanes + lane];
      if (cosine)
        sums[k] = sum;
      else
        to[k] = in.adds ? to[k] + sum : sum;
    }
    __syncthreads();
  }
  if (!cosine) return;
  // What changes the row's direction, divided by its norm; a row without direction has no gradient.
  double along = 0;
  for (int64_t k = threadIdx.x; k < d; k += kThreads) along += sums[k] * (own[k] * inverse);
  along = block_sum(along);
  for (int64_t k = threadIdx.x; k < d; k += kThreads) {
    const float value =
        length < kSmallestNorm ? 0 : static_cast<float>((sums[k] - along * (own[k] * inverse)) * inverse);
    to[k] = in.adds ? to[k] + value : value;
  }
}

}  // namespace

void small_distance_gradients(const duet_context& context, const SmallDistanceGradients& in) {
  const int64_t n = in.x.rows, m = in.y.rows, d = in.x.columns;
  DUET_LAUNCH(small_distance_gradient_kernel, (in.grad_x ? n : 0) + (in.grad_y ? m : 0), kThreads,
              shared_bytes(in.metric, std::max(n, m), d), context.stream)
  (in, closeness(in.metric, static_cast<double>(d)));
}

}  // namespace duet::cuda
