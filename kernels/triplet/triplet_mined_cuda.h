// The triplets of an anchor that mining by hard labels leaves, from the row of its distances (METHOD.md 3), by one
// block of threads: what the kernels of triplet_mined_cuda.cu and the small form share.
#pragma once

#include "kernels/mining/mining_rows_cuda.h"
#include "kernels/triplet/triplet_rows_cuda.h"

namespace duet::cuda {

struct MinedRow {
  const float* distances;
  int32_t* counts;  // null: no gradient
  float margin;
  double loss = 0, active = 0;

  __device__ void take(int64_t positive, int64_t negative) {
    const float reach = distances[positive] + margin;
    if (!(distances[negative] < reach)) return;
    loss += static_cast<double>(reach) - distances[negative];
    active += 1;
    if (counts == nullptr) return;
    atomicAdd(counts + positive, 1);
    atomicAdd(counts + negative, -1);
  }
};

template <Relating kRelating, bool kShared>
__device__ void take_semihard(const Anchor<kRelating>& anchor, const SortedRow<kShared>& negatives, float margin,
                              MinedRow& mined) {
  for (int64_t p = threadIdx.x; p < anchor.m; p += blockDim.x) {
    const int32_t n = anchor.positive(p) ? nearest_beyond(negatives, anchor.distances[p], margin) : -1;
    if (n >= 0) mined.take(p, n);
  }
}

template <Relating kRelating>
__device__ inline void take_drawn(const Anchor<kRelating>& anchor, const TripletDraws& draws, int64_t row,
                                  MinedRow& mined) {
  Anchor<kRelating> euclidean = anchor;
  euclidean.distances = draws.distances.row(row);
  const uint64_t first =
      draws.first_element + static_cast<uint64_t>(row) * static_cast<uint64_t>(draws.draw.total_columns);
  const RowDraw draw{draws.draw.seed, static_cast<uint32_t>(draws.draw.step[0]), draws.dimension, first};
  for (int64_t slot = 0; slot < draws.draw.slots; ++slot) {
    const int32_t n = draw_negative(euclidean, draw, slot);
    for (int64_t p = threadIdx.x; p < anchor.m && n >= 0; p += blockDim.x)
      if (anchor.positive(p)) mined.take(p, n);
  }
}

// Row i; sort(anchor) gives its sorted negatives, for semihard alone. For whole blocks.
template <duet_triplet_mining kMining, Relating kRelating, class Sort>
__device__ __forceinline__ void mined_row(const TripletRows& rows, int64_t i, const TripletDraws& draws, bool gradient,
                                          const Sort& sort) {
  const int64_t m = rows.distances.columns;
  const Anchor<kRelating> anchor(rows.distances.row(i), m, rows.numbers, i);
  bool nan = false;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x)
    nan |= isnan(anchor.distances[j]) && (anchor.positive(j) || anchor.negative(j));
  if (settle_triplets(rows, i, nan, 1, gradient)) return;

  float* const g = gradient ? rows.g.row(i) : nullptr;
  MinedRow mined{anchor.distances, reinterpret_cast<int32_t*>(g), rows.margin};
  for (int64_t j = threadIdx.x; gradient && j < m; j += blockDim.x) mined.counts[j] = 0;
  __syncthreads();
  if constexpr (kMining == DUET_TRIPLET_MINING_HARD) {
    const HardKeys best = hardest(anchor);
    if (threadIdx.x == 0 && best.positive != kNoKey && best.negative != kNoKey)
      mined.take(key_column(best.positive), key_column(best.negative));
  } else if constexpr (kMining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) {
    take_drawn(anchor, draws, i, mined);
  } else {
    take_semihard(anchor, sort(anchor), rows.margin, mined);
  }
  const double loss = block_sum(mined.loss), active = block_sum(mined.active);
  write_triplet_sums(rows, i, loss, active);
  const double scale = gradient && active > 0 ? triplet_scale(rows) : 0;
  for (int64_t j = threadIdx.x; gradient && j < m; j += blockDim.x) {
    const int32_t count = mined.counts[j];
    g[j] = static_cast<float>(scale * count);
  }
}

}  // namespace duet::cuda
