// All triplets of an anchor, from the row of its distances.
//
// One block of threads owns a row. It makes keys (distance, column) of the row's m columns and sorts them in shared memory (past 8192 columns
// sort_rows sorts, and what follows reads global memory); gathers the weights in sorted order; sums them up, in float64, before every run of
// eight sorted columns: S0 = sum of neg, S1 = sum of neg d, P = sum of pos. A column r as a positive then needs
// k = #{d < fl(d_r + margin)}: a binary search from the last one's place, and S0[k], S1[k] from the run's sums and at most seven more columns; as a
// negative q = #{fl(d + margin) <= d_r} and P[q]. dL/dD is scattered back to the columns. Shared memory at m = 8192: keys 68 KB, weights 2 x 33 KB,
// sums 24 KB: 158 KB, one block of 1024 threads on an SM. Expected on an H200 at n = m = 8192, d = 512, a pass over all rows: sort 1.2 ms of shared
// memory and 1.7 ms of comparisons; two searches of 13 steps a column, 1.7e9 reads from shared memory with conflicts, 0.8 ms; weights gathered and
// gradients scattered from the second-level cache at a sector each, 4 GB, 0.8 ms: about 5 ms. Distances 0.9 ms and the two products of the gradient 2
// ms in tf32x3 beside it: forward 6 ms, backward 8 ms, both in one pass 8 ms.
#include "kernels/cuda/block_scan.h"
#include "kernels/cuda/device.h"
#include "kernels/triplet/triplet_rows_cuda.h"

namespace duet::cuda {
namespace {

struct Weights {
  float positive, negative;
};

// Weights of METHOD.md 2 of column j for a row.
template <bool kSoft>
__device__ Weights weights_of(const TripletRows& rows, int64_t row, int64_t j) {
  if constexpr (kSoft) {
    if (rows.paired && j == rows.own + row) return {1, 0};
    const float agreement = rows.g.row(row)[j], trust = rows.trust_y ? rows.trust_y[j] : 1.0f;
    const float rest = 1 - agreement;  // a sum of products of float32 may pass 1 by an ulp: that is no negative weight
    return {agreement * trust, (rest < 0 ? 0.0f : rest) * trust};
  } else {
    const int32_t label = rows.labels_x[row], other = rows.labels_y[j];
    if (label < 0 || other < 0) return {0, 0};
    return label == other ? Weights{1, 0} : Weights{0, 1};
  }
}

// Sums over the sorted columns before some place.
struct Below {
  double weight, distance, positive;  // of neg, neg d, pos

  __device__ void add(double d, float positive_weight, float negative_weight) {
    weight += negative_weight;
    if (negative_weight != 0) distance += negative_weight * d;  // an infinite distance of no weight adds nothing
    positive += positive_weight;
  }
};

// One row in sorted order.
template <bool kShared>
struct Row {
  SortedRow<kShared> sorted;
  float *positive, *negative;
  Below* below;  // before each run

  __device__ int64_t place(int64_t r) const { return kShared ? spread<float>(r) : r; }
  __device__ void add(Below& sums, int64_t r) const { sums.add(key_value(sorted[r]), positive[place(r)], negative[place(r)]); }
  // Over the columns 0 .. k - 1.
  __device__ Below sums_before(int64_t k) const {
    Below sums = below[k / kSortRun];
    for (int64_t r = k / kSortRun * kSortRun; r < k; ++r) add(sums, r);
    return sums;
  }
  __device__ double positive_before(int64_t k) const {
    double sum = below[k / kSortRun].positive;
    for (int64_t r = k / kSortRun * kSortRun; r < k; ++r) sum += positive[place(r)];
    return sum;
  }
  // #{k: fl(d[k] + margin) <= d}, at least low.
  __device__ int64_t passed(int64_t low, float d, float margin) const {
    int64_t high = sorted.count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (key_value(sorted[middle]) + margin <= d)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

// Gathers the weights and sums them up before every run; returns the sum of pos. For whole blocks.
template <bool kSoft, bool kShared>
__device__ double sum_runs(const TripletRows& rows, int64_t i, const Row<kShared>& row) {
  const int64_t count = row.sorted.count, runs = (count + kSortRun - 1) / kSortRun;
  Below carry{0, 0, 0};
  for (int64_t first = 0; first < runs; first += blockDim.x) {
    const int64_t run = first + threadIdx.x;
    Below own{0, 0, 0}, whole;
    for (int64_t r = run * kSortRun; r < (run + 1) * kSortRun && r < count; ++r) {
      const Weights weights = weights_of<kSoft>(rows, i, key_column(row.sorted[r]));
      row.positive[row.place(r)] = weights.positive;
      row.negative[row.place(r)] = weights.negative;
      row.add(own, r);
    }
    const double weight = block_sum_before(own.weight, whole.weight);
    const double distance = block_sum_before(own.distance, whole.distance);
    const double positive = block_sum_before(own.positive, whole.positive);
    if (run < runs) row.below[run] = {carry.weight + weight, carry.distance + distance, carry.positive + positive};
    carry = {carry.weight + whole.weight, carry.distance + whole.distance, carry.positive + whole.positive};
  }
  if (threadIdx.x == 0) row.below[runs] = carry;
  __syncthreads();
  return carry.positive;
}

// The row's loss, active weight and dL/dD. For whole blocks.
template <bool kGradient, bool kShared>
__device__ void finish_row(const TripletRows& rows, int64_t i, const Row<kShared>& row, double all_positive, double trust) {
  const int64_t count = row.sorted.count;
  const double factor = kGradient ? triplet_scale(rows) * trust : 0;
  double loss = 0, active = 0;
  for (int64_t run = threadIdx.x; run * kSortRun < count; run += blockDim.x) {
    int64_t reached = 0, passed = 0;
    for (int64_t r = run * kSortRun; r < (run + 1) * kSortRun && r < count; ++r) {
      const float positive = row.positive[row.place(r)], negative = row.negative[row.place(r)];
      const float d = key_value(row.sorted[r]), reach = d + rows.margin;
      double within = 0, beyond = 0;
      if (positive != 0) {
        reached = row.sorted.first_from(reached, rising_bits(reach));
        const Below below = row.sums_before(reached);
        within = below.weight;
        if (within != 0) loss += positive * (reach * within - below.distance);
        active += positive * within;
      }
      if constexpr (kGradient) {
        if (negative != 0) {
          passed = row.passed(passed, d, rows.margin);
          beyond = all_positive - row.positive_before(passed);
        }
        const bool weighs = positive != 0 || negative != 0;  // what does not has no part in a NaN upstream either
        rows.g.row(i)[key_column(row.sorted[r])] = weighs ? static_cast<float>(factor * (positive * within - negative * beyond)) : 0;
      }
    }
  }
  loss = block_sum(loss);
  active = block_sum(active);
  write_triplet_sums(rows, i, loss * trust, active * trust);
}

// NaN in a weight, or in the distance of a column that weighs.
__device__ bool weighs_nan(float distance, const Weights& weights) {
  const float weight = weights.positive + weights.negative;  // both are at least 0
  return isnan(weight) || (isnan(distance) && weight != 0);
}

constexpr size_t row_bytes(int size) {
  return spread<uint64_t>(size) * sizeof(uint64_t) + 2 * spread<float>(size) * sizeof(float) + (size / kSortRun + 1) * sizeof(Below);
}
static_assert(row_bytes(kLargestSort) + 1024 <= kLeastSharedBytes, "past what a block may have on sm_80");

template <bool kSoft, bool kGradient>
__global__ void __launch_bounds__(1024) all_of_rows(TripletRows rows, int size) {
  DUET_SHARED_DYNAMIC(uint64_t, keys);
  auto* const below = reinterpret_cast<Below*>(keys + spread<uint64_t>(size));
  auto* const positive = reinterpret_cast<float*>(below + size / kSortRun + 1);
  const int64_t i = blockIdx.x, m = rows.distances.columns;
  const float trust = rows.trust_x ? rows.trust_x[i] : 1.0f;
  bool nan = false;
  for (int64_t j = threadIdx.x; j < size; j += blockDim.x) {
    keys[spread<uint64_t>(j)] = j < m ? row_key(rising_bits(rows.distances.row(i)[j]), j) : kNoKey;
    if (j < m) nan |= weighs_nan(rows.distances.row(i)[j], weights_of<kSoft>(rows, i, j));
  }
  if (settle_triplets(rows, i, nan, trust, kGradient)) return;
  sort_block(keys, size);
  const Row<true> row{{keys, m}, positive, positive + spread<float>(size), below};
  const double all_positive = sum_runs<kSoft>(rows, i, row);
  finish_row<kGradient>(rows, i, row, all_positive, trust);
}

__global__ void __launch_bounds__(256) write_keys(Matrix<const float> distances, uint64_t* keys) {
  const int64_t i = blockIdx.x, m = distances.columns;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) keys[i * m + j] = row_key(rising_bits(distances.row(i)[j]), j);
}

DUET_HOST_DEVICE constexpr int64_t runs_of(int64_t m) { return (m + kSortRun - 1) / kSortRun + 1; }

template <bool kSoft, bool kGradient>
__global__ void __launch_bounds__(1024) all_of_long_rows(TripletRows rows, const uint64_t* sorted, float* positive, float* negative, double* below) {
  const int64_t i = blockIdx.x, m = rows.distances.columns;
  const float trust = rows.trust_x ? rows.trust_x[i] : 1.0f;
  bool nan = false;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) nan |= weighs_nan(rows.distances.row(i)[j], weights_of<kSoft>(rows, i, j));
  if (settle_triplets(rows, i, nan, trust, kGradient)) return;
  const Row<false> row{{sorted + i * m, m}, positive + i * m, negative + i * m, reinterpret_cast<Below*>(below) + i * runs_of(m)};
  const double all_positive = sum_runs<kSoft>(rows, i, row);
  finish_row<kGradient>(rows, i, row, all_positive, trust);
}

template <bool kSoft, bool kGradient>
void launch(const duet_context& context, const TripletRows& rows, const LongTriplets& longer) {
  const int64_t count = rows.distances.rows, m = rows.distances.columns;
  if (!longer.rows) {
    const int size = sort_size(m);
    DUET_LAUNCH((all_of_rows<kSoft, kGradient>), count, sort_threads(m), row_bytes(size), context.stream)(rows, size);
    return;
  }
  for_each_row_block(count, longer.rows.rows, [&](int64_t first, int64_t some) {
    const TripletRows these = rows.part(first, some);
    DUET_LAUNCH(write_keys, some, 256, 0, context.stream)(these.distances, longer.rows.keys);
    const uint64_t* sorted = longer.rows.sort(context, some);
    DUET_LAUNCH((all_of_long_rows<kSoft, kGradient>), some, 1024, 0, context.stream)
    (these, sorted, longer.positive, longer.negative, longer.below);
  });
}

}  // namespace

LongTriplets::LongTriplets(Workspace& workspace, const duet_context& context, const TripletInputs& in)
    : rows(workspace, context, in.mining == DUET_TRIPLET_ALL || in.mining == DUET_TRIPLET_SEMIHARD ? block_rows(in.x.rows, in.y.rows) : 0, in.y.rows),
      positive(workspace.take<float>(in.mining == DUET_TRIPLET_ALL ? rows.rows * in.y.rows : 0)),
      negative(workspace.take<float>(in.mining == DUET_TRIPLET_ALL ? rows.rows * in.y.rows : 0)),
      below(workspace.take<double>(in.mining == DUET_TRIPLET_ALL ? 3 * rows.rows * runs_of(in.y.rows) : 0)) {}

void triplets_all_rows(const duet_context& context, const TripletRows& rows, bool soft, bool gradient, const LongTriplets& longer) {
  if (soft)
    gradient ? launch<true, true>(context, rows, longer) : launch<true, false>(context, rows, longer);
  else
    gradient ? launch<false, true>(context, rows, longer) : launch<false, false>(context, rows, longer);
}

}  // namespace duet::cuda
