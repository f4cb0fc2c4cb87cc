// A block of threads owns an anchor: it sorts the row of its distances and sums weights in sorted order.
// Bytes: a row's distances and weights, read once and written once as dL/dD, from and to L2; the rest is shared memory.
// Products: none here; a binary search a column, twice. PLAN.md has the figures.
#include "kernels/cuda/device.h"
#include "kernels/triplet/triplet_all_cuda.h"

namespace duet::cuda {
namespace {

constexpr int64_t kStaticBytes = 1024;  // that a kernel may have beside them
constexpr bool fits(int size, int64_t shared_bytes) {
  return shared_bytes >= static_cast<int64_t>(all_row_bytes(size)) + kStaticBytes;
}
static_assert(fits(kLargestSort, 163 * 1024), "past what a block may have on sm_80");
static_assert(fits(kLargestSort / 2, kLeastSharedBytes), "past what a block may have on every device");

// The most columns of a row that are sorted in shared memory.
int64_t longest_row(const duet_context& context, duet_triplet_mining mining) {
  return mining == DUET_TRIPLET_MINING_ALL && !fits(kLargestSort, context.shared_bytes) ? kLargestSort / 2
                                                                                        : kLargestSort;
}

template <bool kSoft, Relating kRelating, bool kGradient>
__global__ void __launch_bounds__(1024) all_of_rows(TripletRows rows, int size) {
  DUET_SHARED_DYNAMIC(uint64_t, keys);
  all_of_row<kSoft, kRelating, kGradient, kSortRun>(rows, blockIdx.x, keys, size);
}

__global__ void __launch_bounds__(256) write_keys(Matrix<const float> distances, uint64_t* keys) {
  const int64_t i = blockIdx.x, m = distances.columns;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) keys[i * m + j] = row_key(rising_bits(distances.row(i)[j]), j);
}

DUET_HOST_DEVICE constexpr int64_t runs_of(int64_t m) { return ceil_div(m, kSortRun) + 1; }

template <bool kSoft, Relating kRelating, bool kGradient>
__global__ void __launch_bounds__(1024)
    all_of_long_rows(TripletRows rows, const uint64_t* sorted, float* positive, float* negative, double* below) {
  const int64_t i = blockIdx.x, m = rows.distances.columns;
  const float trust = rows.trust_x ? rows.trust_x[i] : 1.0f;
  bool nan = false;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x)
    nan |= weighs_nan(rows.distances.row(i)[j], weights_of<kSoft, kRelating>(rows, i, j));
  if (settle_triplets(rows, i, nan, trust, kGradient)) return;
  const SortedTriplets<false> row{
      {sorted + i * m, m}, positive + i * m, negative + i * m, reinterpret_cast<WeightBelow*>(below) + i * runs_of(m)};
  const double all_positive = sum_runs<kSoft, kRelating>(rows, i, row);
  finish_row<kGradient, kSortRun>(rows, i, row, all_positive, trust);
}

template <bool kSoft, Relating kRelating, bool kGradient>
void launch(const duet_context& context, const TripletRows& rows, const LongTriplets& longer) {
  const int64_t count = rows.distances.rows, m = rows.distances.columns;
  if (!longer.rows) {
    const int size = sort_size(m);
    DUET_LAUNCH((all_of_rows<kSoft, kRelating, kGradient>), count, sort_threads(m), all_row_bytes(size), context.stream)
    (rows, size);
    return;
  }
  for_each_row_block(count, longer.rows.rows, [&](int64_t first, int64_t some) {
    const TripletRows these = rows.part(first, some);
    DUET_LAUNCH(write_keys, some, 256, 0, context.stream)(these.distances, longer.rows.keys);
    const uint64_t* sorted = longer.rows.sort(context, some);
    DUET_LAUNCH((all_of_long_rows<kSoft, kRelating, kGradient>), some, 1024, 0, context.stream)
    (these, sorted, longer.positive, longer.negative, longer.below);
  });
}

}  // namespace

LongTriplets::LongTriplets(Workspace& workspace, const duet_context& context, const TripletInputs& in)
    : rows(workspace, context,
           in.mining == DUET_TRIPLET_MINING_ALL || in.mining == DUET_TRIPLET_MINING_SEMIHARD
               ? block_rows(in.x.rows, in.y.rows)
               : 0,
           in.y.rows, longest_row(context, in.mining)),
      positive(workspace.take<float>(in.mining == DUET_TRIPLET_MINING_ALL ? rows.rows * in.y.rows : 0)),
      negative(workspace.take<float>(in.mining == DUET_TRIPLET_MINING_ALL ? rows.rows * in.y.rows : 0)),
      below(workspace.take<double>(in.mining == DUET_TRIPLET_MINING_ALL ? 3 * rows.rows * runs_of(in.y.rows) : 0)) {}

void triplets_all_rows(const duet_context& context, const TripletRows& rows, bool soft, bool gradient,
                       const LongTriplets& longer) {
  with_relating(rows.numbers, [&](auto relating) {
    constexpr Relating kRelating = decltype(relating)::value;
    if constexpr (kRelating != Relating::sets) {  // which are of labels
      if (soft)
        return gradient ? launch<true, kRelating, true>(context, rows, longer)
                        : launch<true, kRelating, false>(context, rows, longer);
    }
    gradient ? launch<false, kRelating, true>(context, rows, longer)
             : launch<false, kRelating, false>(context, rows, longer);
  });
}

}  // namespace duet::cuda
