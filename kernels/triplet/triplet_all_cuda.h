// All triplets of an anchor from the row of its distances (METHOD.md 3), by one block of threads that sorts the row:
// what the kernels of triplet_all_cuda.cu and the small form share.
#pragma once

#include "kernels/cuda/block_scan.h"
#include "kernels/mining/mining_rows_cuda.h"
#include "kernels/triplet/triplet_rows_cuda.h"

namespace duet::cuda {

struct PairWeights {
  float positive, negative;
};

// Weights of METHOD.md 2 of column j for a row. kRelating: what says it beside labels or classes (RelationNumbers).
template <bool kSoft, Relating kRelating>
__device__ PairWeights weights_of(const TripletRows& rows, int64_t row, int64_t j) {
  if constexpr (kRelating != Relating::labels) {
    const PairKind kind = typename Anchor<kRelating>::Relation(rows.numbers, row)(j);
    // Without labels what is not of one group is different: its classes decide.
    if (!kSoft || kind != kDifferent) return {kind == kAlike ? 1.0f : 0.0f, kind == kDifferent ? 1.0f : 0.0f};
  }
  if constexpr (kSoft) {
    if (rows.paired && j == rows.numbers.own + row) return {1, 0};
    const float agreement = rows.g.row(row)[j], trust = rows.trust_y ? rows.trust_y[j] : 1.0f;
    const float rest = 1 - agreement;  // a sum of products of float32 may pass 1 by an ulp: that is no negative weight
    return {agreement * trust, (rest < 0 ? 0.0f : rest) * trust};
  } else {
    const int32_t label = rows.numbers.labels_x[row], other = rows.numbers.labels_y[j];
    if (label < 0 || other < 0) return {0, 0};
    return label == other ? PairWeights{1, 0} : PairWeights{0, 1};
  }
}

// Sums over the sorted columns before some place.
struct WeightBelow {
  double weight, distance, positive;  // of neg, neg d, pos

  __device__ void add(double d, float positive_weight, float negative_weight) {
    weight += negative_weight;
    if (negative_weight != 0) distance += negative_weight * d;  // an infinite distance of no weight adds nothing
    positive += positive_weight;
  }
};

// One row in sorted order.
template <bool kShared>
struct SortedTriplets {
  SortedRow<kShared> sorted;
  float *positive, *negative;
  WeightBelow* below;  // before each run

  __device__ int64_t place(int64_t r) const { return kShared ? spread<float>(r) : r; }
  __device__ void add(WeightBelow& sums, int64_t r) const {
    sums.add(key_value(sorted[r]), positive[place(r)], negative[place(r)]);
  }
  // Over the columns 0 .. k - 1.
  __device__ WeightBelow sums_before(int64_t k) const {
    WeightBelow sums = below[k / kSortRun];
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
template <bool kSoft, Relating kRelating, bool kShared>
__device__ double sum_runs(const TripletRows& rows, int64_t i, const SortedTriplets<kShared>& row) {
  const int64_t count = row.sorted.count, runs = ceil_div(count, kSortRun);
  WeightBelow carry{0, 0, 0};
  for (int64_t first = 0; first < runs; first += blockDim.x) {
    const int64_t run = first + threadIdx.x;
    WeightBelow own{0, 0, 0}, whole;
    for (int64_t r = run * kSortRun; r < (run + 1) * kSortRun && r < count; ++r) {
      const PairWeights weights = weights_of<kSoft, kRelating>(rows, i, key_column(row.sorted[r]));
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

// The row's loss, active weight and dL/dD. kEach: neighbouring columns of a thread, each searched from the last one's
// place. For whole blocks.
template <bool kGradient, int kEach, bool kShared>
__device__ void finish_row(const TripletRows& rows, int64_t i, const SortedTriplets<kShared>& row, double all_positive,
                           double trust) {
  const int64_t count = row.sorted.count;
  const double factor = kGradient ? triplet_scale(rows) * trust : 0;
  double loss = 0, active = 0;
  for (int64_t piece = threadIdx.x; piece * kEach < count; piece += blockDim.x) {
    int64_t reached = 0, passed = 0;
    for (int64_t r = piece * kEach; r < (piece + 1) * kEach && r < count; ++r) {
      const float positive = row.positive[row.place(r)], negative = row.negative[row.place(r)];
      const float d = key_value(row.sorted[r]), reach = d + rows.margin;
      double within = 0, beyond = 0;
      if (positive != 0) {
        reached = row.sorted.first_from(reached, rising_bits(reach));
        const WeightBelow below = row.sums_before(reached);
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
        rows.g.row(i)[key_column(row.sorted[r])] =
            weighs ? static_cast<float>(factor * (positive * within - negative * beyond)) : 0;
      }
    }
  }
  loss = block_sum(loss);
  active = block_sum(active);
  write_triplet_sums(rows, i, loss * trust, active * trust);
}

// NaN in a weight, or in the distance of a column that weighs.
__device__ inline bool weighs_nan(float distance, const PairWeights& weights) {
  const float weight = weights.positive + weights.negative;  // both are at least 0
  return isnan(weight) || (isnan(distance) && weight != 0);
}

// Shared memory of all_of_row.
DUET_HOST_DEVICE constexpr size_t all_row_bytes(int size) {
  return spread<uint64_t>(size) * sizeof(uint64_t) + 2 * spread<float>(size) * sizeof(float) +
         (size / kSortRun + 1) * sizeof(WeightBelow);
}

// Row i, sorted in shared memory: keys points to all_row_bytes(size), size = sort_size(columns). kEach as in
// finish_row. For whole blocks.
template <bool kSoft, Relating kRelating, bool kGradient, int kEach>
__device__ __forceinline__ void all_of_row(const TripletRows& rows, int64_t i, uint64_t* keys, int size) {
  auto* const below = reinterpret_cast<WeightBelow*>(keys + spread<uint64_t>(size));
  auto* const positive = reinterpret_cast<float*>(below + size / kSortRun + 1);
  const int64_t m = rows.distances.columns;
  const float trust = rows.trust_x ? rows.trust_x[i] : 1.0f;
  bool nan = false;
  for (int64_t j = threadIdx.x; j < size; j += blockDim.x) {
    keys[spread<uint64_t>(j)] = j < m ? row_key(rising_bits(rows.distances.row(i)[j]), j) : kNoKey;
    if (j < m) nan |= weighs_nan(rows.distances.row(i)[j], weights_of<kSoft, kRelating>(rows, i, j));
  }
  if (settle_triplets(rows, i, nan, trust, kGradient)) return;
  sort_block(keys, size);
  const SortedTriplets<true> row{{keys, m}, positive, positive + spread<float>(size), below};
  const double all_positive = sum_runs<kSoft, kRelating>(rows, i, row);
  finish_row<kGradient, kEach>(rows, i, row, all_positive, trust);
}

}  // namespace duet::cuda
