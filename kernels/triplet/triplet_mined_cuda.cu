// A block of threads owns an anchor: the triplets that mining by hard labels leaves, every one of weight 1.
// Bytes: a row's distances, read once from L2, and its counts, written as dL/dD.
// Products: none here; semihard sorts the row, distance_weighted draws its negatives. PLAN.md has the figures.
#include "kernels/triplet/triplet_mined_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 128;

// sorted: the rows' negatives where they are too long for shared memory, else null and size the keys of a row.
template <duet_triplet_mining kMining, bool kShared, Relating kRelating>
__global__ void __launch_bounds__(kShared ? 1024 : kThreads)
    mined_rows(TripletRows rows, TripletDraws draws, bool gradient, int size, const uint64_t* sorted) {
  const auto mine = [&](const auto& sort) { mined_row<kMining, kRelating>(rows, blockIdx.x, draws, gradient, sort); };
  if constexpr (kMining == DUET_TRIPLET_MINING_SEMIHARD && kShared) {
    DUET_SHARED_DYNAMIC(uint64_t, keys);
    mine([&](const Anchor<kRelating>& anchor) { return sort_negatives(anchor, keys, size); });
  } else {
    mine([&](const Anchor<kRelating>& anchor) { return SortedRow<false>{sorted + blockIdx.x * anchor.m, anchor.m}; });
  }
}

template <Relating kRelating>
__global__ void __launch_bounds__(kThreads) write_negative_keys(TripletRows rows, uint64_t* keys) {
  const int64_t i = blockIdx.x, m = rows.distances.columns;
  const Anchor<kRelating> anchor(rows.distances.row(i), m, rows.numbers, i);
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) keys[i * m + j] = negative_key(anchor, j);
}

template <Relating kRelating>
void launch(const duet_context& context, const TripletRows& rows, duet_triplet_mining mining, bool gradient,
            const TripletDraws& draws, const LongTriplets& longer) {
  const int64_t count = rows.distances.rows;
  const int64_t m = rows.distances.columns;
  const int threads = std::min(kThreads, sort_threads(m));
  if (mining == DUET_TRIPLET_MINING_HARD) {
    DUET_LAUNCH((mined_rows<DUET_TRIPLET_MINING_HARD, false, kRelating>), count, threads, 0, context.stream)
    (rows, draws, gradient, 0, nullptr);
  } else if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) {
    DUET_LAUNCH((mined_rows<DUET_TRIPLET_MINING_DISTANCE_WEIGHTED, false, kRelating>), count, threads, 0,
                context.stream)
    (rows, draws, gradient, 0, nullptr);
  } else if (!longer.rows) {
    const int size = sort_size(m);
    DUET_LAUNCH((mined_rows<DUET_TRIPLET_MINING_SEMIHARD, true, kRelating>), count, sort_threads(m),
                spread<uint64_t>(size) * sizeof(uint64_t), context.stream)
    (rows, draws, gradient, size, nullptr);
  } else {
    for_each_row_block(rows.distances.rows, longer.rows.rows, [&](int64_t first, int64_t some) {
      const TripletRows these = rows.part(first, some);
      DUET_LAUNCH(write_negative_keys<kRelating>, some, kThreads, 0, context.stream)(these, longer.rows.keys);
      const uint64_t* sorted = longer.rows.sort(context, some);
      DUET_LAUNCH((mined_rows<DUET_TRIPLET_MINING_SEMIHARD, false, kRelating>), some, kThreads, 0, context.stream)
      (these, draws, gradient, 0, sorted);
    });
  }
}

}  // namespace

void triplets_mined_rows(const duet_context& context, const TripletRows& rows, duet_triplet_mining mining,
                         bool gradient, const TripletDraws& draws, const LongTriplets& longer) {
  with_relating(rows.numbers, [&](auto relating) {
    launch<decltype(relating)::value>(context, rows, mining, gradient, draws, longer);
  });
}

}  // namespace duet::cuda
