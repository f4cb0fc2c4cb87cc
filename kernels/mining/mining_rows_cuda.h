// What a block of threads mines from the distances of one anchor (METHOD.md 3): shared by the mining calls and the
// triplet loss.
#pragma once

#include "kernels/core/philox.h"
#include "kernels/cuda/row_blocks.h"
#include "kernels/cuda/warp.h"
#include "kernels/mining/mining_backends.h"
#include "kernels/pairs/relation.h"

namespace duet::cuda {

// By labels alone, or where these do not say it all by the relation of the row.
template <Relating kRelating>
struct Anchor {
  using Relation = std::conditional_t<kRelating == Relating::sets, RowOfSets, RowRelation>;
  const float* distances;  // m
  int64_t m;
  Relation relation;

  __device__ Anchor(const float* of_row, int64_t columns, const RelationNumbers& numbers, int64_t i)
      : distances(of_row), m(columns), relation(numbers, i) {}
  __device__ bool positive(int64_t j) const { return relation(j) == kAlike; }
  __device__ bool negative(int64_t j) const { return relation(j) == kDifferent; }
};
template <>
struct Anchor<Relating::labels> {
  const float* distances;
  int64_t m;
  const int32_t* labels_y;  // m
  int32_t label;

  __device__ Anchor(const float* of_row, int64_t columns, const RelationNumbers& numbers, int64_t i)
      : distances(of_row), m(columns), labels_y(numbers.labels_y), label(numbers.labels_x[i]) {}
  __device__ bool positive(int64_t j) const { return label >= 0 && labels_y[j] == label; }
  __device__ bool negative(int64_t j) const { return label >= 0 && labels_y[j] >= 0 && labels_y[j] != label; }
};

// The farthest positive and the nearest negative as keys, the least of each being the one: a NaN distance has none.
struct HardKeys {
  uint64_t positive = kNoKey, negative = kNoKey;

  __device__ void take(bool same, float distance, int64_t index) {
    const uint32_t bits = rising_bits(distance);
    if (bits == ~0u) return;
    if (same)
      positive = Min{}(positive, row_key(~bits, index));
    else
      negative = Min{}(negative, row_key(bits, index));
  }
};
__device__ inline int32_t index_of(uint64_t key) { return key == kNoKey ? -1 : key_column(key); }

template <Relating kRelating>
__device__ inline HardKeys hardest(const Anchor<kRelating>& anchor) {
  HardKeys best;
  for (int64_t j = threadIdx.x; j < anchor.m; j += blockDim.x)
    if (anchor.positive(j) || anchor.negative(j)) best.take(anchor.positive(j), anchor.distances[j], j);
  best.positive = block_min(best.positive);
  best.negative = block_min(best.negative);
  return best;
}

// semihard sorts the negatives of a row alone, what is none behind them.
template <Relating kRelating>
__device__ inline uint64_t negative_key(const Anchor<kRelating>& anchor, int64_t j) {
  const uint32_t bits = rising_bits(anchor.distances[j]);
  return anchor.negative(j) && bits != ~0u ? row_key(bits, j) : kNoKey;
}

// Writes and sorts them in shared memory: spread(size) keys.
template <Relating kRelating>
__device__ inline SortedRow<true> sort_negatives(const Anchor<kRelating>& anchor, uint64_t* keys, int size) {
  for (int64_t j = threadIdx.x; j < size; j += blockDim.x)
    keys[spread<uint64_t>(j)] = j < anchor.m ? negative_key(anchor, j) : kNoKey;
  __syncthreads();
  sort_block(keys, size);
  return {keys, anchor.m};
}

// The nearest negative with D_p < D_n < fl(D_p + margin), of equals the lowest, or -1: the first key beyond D_p.
template <bool kShared>
__device__ int32_t nearest_beyond(const SortedRow<kShared>& negatives, float distance, float margin) {
  const uint32_t bits = rising_bits(distance);
  if (bits == ~0u) return -1;
  const int64_t k = negatives.first_from(0, bits + 1);
  if (k == negatives.count || negatives[k] == kNoKey || !(key_value(negatives[k]) < distance + margin)) return -1;
  return key_column(negatives[k]);
}

// distance_weighted's draws for one anchor.
struct RowDraw {
  uint64_t seed;
  uint32_t step;
  int64_t dimension;
  uint64_t first_element;  // global index of the anchor times M plus that of the first column
};

// log p of METHOD.md 3 up to a constant, p ~ 1/q(E).
__device__ inline double log_weight(float euclidean, int64_t dimension) {
  const double e = euclidean > 0.5f ? euclidean : 0.5f, rest = 1 - e * e * 0.25, d = static_cast<double>(dimension);
  return (2 - d) * log(e) - 0.5 * (d - 3) * log(rest > 1e-8 ? rest : 1e-8);
}

// The drawn negative, of equal scores the first, or -1. anchor.distances: Euclidean ones.
template <Relating kRelating>
__device__ inline int32_t draw_negative(const Anchor<kRelating>& anchor, const RowDraw& draw, int64_t slot) {
  const auto stream = kStreamDistanceWeighted + 256 * static_cast<uint32_t>(slot);
  double best = -INFINITY;
  int32_t where = INT32_MAX;
  for (int64_t j = threadIdx.x; j < anchor.m; j += blockDim.x) {
    if (!anchor.negative(j) || !(anchor.distances[j] < 1.4f)) continue;
    const double u = uniform(random_word(draw.seed, stream, draw.step, draw.first_element + static_cast<uint64_t>(j)));
    const double score = log_weight(anchor.distances[j], draw.dimension) - log(-log(u));
    if (score > best) best = score, where = static_cast<int32_t>(j);
  }
  const double highest = block_max(best);
  const int32_t chosen = block_min(best == highest ? where : INT32_MAX);
  return chosen == INT32_MAX ? -1 : chosen;
}

}  // namespace duet::cuda
