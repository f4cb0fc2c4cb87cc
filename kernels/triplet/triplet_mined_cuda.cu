// The triplets of an anchor that mining by hard labels leaves, every one of weight 1.
//
// One block of threads owns a row of distances. hard: one triplet, from the block's two best keys. semihard: the row's negatives sorted as for the
// mining list (kernels/mining/mining_cuda.cu), which is not stored; each positive searches its own. distance_weighted: the anchor's draws, each with
// every positive. A triplet adds 1 to the count of its positive and takes 1 from that of its negative, in the row of dL/dD itself and by
// integer atomics, so that their order does not matter; the counts become scale dL/dD at the end.
// Expected on an H200 at n = m = 8192, d = 512: distances 0.9 ms in tf32x3; hard reads them once from the cache, 0.1 ms; semihard as its mining,
// 3 ms; distance_weighted has distances of its own, 0.9 ms, and 1 ms for each slot.
#include "kernels/mining/mining_rows_cuda.h"
#include "kernels/triplet/triplet_rows_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 128;

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

template <bool kShared>
__device__ void take_semihard(const Anchor& anchor, const SortedRow<kShared>& negatives, float margin, MinedRow& mined) {
  for (int64_t p = threadIdx.x; p < anchor.m; p += blockDim.x) {
    const int32_t n = anchor.positive(p) ? nearest_beyond(negatives, anchor.distances[p], margin) : -1;
    if (n >= 0) mined.take(p, n);
  }
}

__device__ void take_drawn(const Anchor& anchor, const TripletDraws& draws, int64_t row, MinedRow& mined) {
  Anchor euclidean = anchor;
  euclidean.distances = draws.distances.row(row);
  const uint64_t first = draws.first_element + static_cast<uint64_t>(row) * static_cast<uint64_t>(draws.draw.total_columns);
  const RowDraw draw{draws.draw.seed, static_cast<uint32_t>(draws.draw.step[0]), draws.dimension, first};
  for (int64_t slot = 0; slot < draws.draw.slots; ++slot) {
    const int32_t n = draw_negative(euclidean, draw, slot);
    for (int64_t p = threadIdx.x; p < anchor.m && n >= 0; p += blockDim.x)
      if (anchor.positive(p)) mined.take(p, n);
  }
}

// sorted: the rows' negatives where they are too long for shared memory, else null and size the keys of a row.
template <duet_triplet_mining kMining, bool kShared>
__global__ void __launch_bounds__(kShared ? 1024 : kThreads)
    mined_rows(TripletRows rows, TripletDraws draws, bool gradient, int size, const uint64_t* sorted) {
  const int64_t i = blockIdx.x, m = rows.distances.columns;
  const Anchor anchor{rows.distances.row(i), rows.labels_y, m, rows.labels_x[i]};
  bool nan = false;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) nan |= isnan(anchor.distances[j]) && (anchor.positive(j) || anchor.negative(j));
  if (settle_triplets(rows, i, nan, 1, gradient)) return;

  float* const g = gradient ? rows.g.row(i) : nullptr;
  MinedRow mined{anchor.distances, reinterpret_cast<int32_t*>(g), rows.margin};
  for (int64_t j = threadIdx.x; gradient && j < m; j += blockDim.x) mined.counts[j] = 0;
  __syncthreads();
  if constexpr (kMining == DUET_TRIPLET_HARD) {
    const HardKeys best = hardest(anchor);
    if (threadIdx.x == 0 && best.positive != kNoKey && best.negative != kNoKey) mined.take(key_column(best.positive), key_column(best.negative));
  } else if constexpr (kMining == DUET_TRIPLET_DISTANCE_WEIGHTED) {
    take_drawn(anchor, draws, i, mined);
  } else if constexpr (kShared) {
    DUET_SHARED_DYNAMIC(uint64_t, keys);
    take_semihard(anchor, sort_negatives(anchor, keys, size), rows.margin, mined);
  } else {
    take_semihard(anchor, SortedRow<false>{sorted + i * m, m}, rows.margin, mined);
  }
  const double loss = block_sum(mined.loss), active = block_sum(mined.active);
  write_triplet_sums(rows, i, loss, active);
  const double scale = gradient && active > 0 ? triplet_scale(rows) : 0;
  for (int64_t j = threadIdx.x; gradient && j < m; j += blockDim.x) {
    const int32_t count = mined.counts[j];
    g[j] = static_cast<float>(scale * count);
  }
}

__global__ void __launch_bounds__(kThreads) write_negative_keys(TripletRows rows, uint64_t* keys) {
  const int64_t i = blockIdx.x, m = rows.distances.columns;
  const Anchor anchor{rows.distances.row(i), rows.labels_y, m, rows.labels_x[i]};
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) keys[i * m + j] = negative_key(anchor, j);
}

}  // namespace

void triplets_mined_rows(const duet_context& context, const TripletRows& rows, duet_triplet_mining mining, bool gradient, const TripletDraws& draws,
                         const LongTriplets& longer) {
  const int64_t count = rows.distances.rows;
  const int64_t m = rows.distances.columns;
  const int threads = std::min(kThreads, sort_threads(m));
  if (mining == DUET_TRIPLET_HARD) {
    DUET_LAUNCH((mined_rows<DUET_TRIPLET_HARD, false>), count, threads, 0, context.stream)(rows, draws, gradient, 0, nullptr);
  } else if (mining == DUET_TRIPLET_DISTANCE_WEIGHTED) {
    DUET_LAUNCH((mined_rows<DUET_TRIPLET_DISTANCE_WEIGHTED, false>), count, threads, 0, context.stream)(rows, draws, gradient, 0, nullptr);
  } else if (!longer.rows) {
    const int size = sort_size(m);
    DUET_LAUNCH((mined_rows<DUET_TRIPLET_SEMIHARD, true>), count, sort_threads(m), spread<uint64_t>(size) * sizeof(uint64_t), context.stream)
    (rows, draws, gradient, size, nullptr);
  } else {
    for_each_row_block(rows.distances.rows, longer.rows.rows, [&](int64_t first, int64_t some) {
      const TripletRows these = rows.part(first, some);
      DUET_LAUNCH(write_negative_keys, some, kThreads, 0, context.stream)(these, longer.rows.keys);
      const uint64_t* sorted = longer.rows.sort(context, some);
      DUET_LAUNCH((mined_rows<DUET_TRIPLET_SEMIHARD, false>), some, kThreads, 0, context.stream)
      (these, draws, gradient, 0, sorted);
    });
  }
}

}  // namespace duet::cuda
