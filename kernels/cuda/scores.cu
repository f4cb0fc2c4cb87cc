// A block owns a side's norms, for its longest, or the sums of 32 positions: 8 warps, an eighth of the tiles each.
// Bytes: 4 a row for the norms; partials of a forward block, 12 x 4096 x 256 and as many again, some 25 MB in L2.
// Products: none; under 1 % of the block's at d = 512.
#include "kernels/cuda/positions.h"
#include "kernels/cuda/scores.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;

struct Longest {
  const float* norms[2];
  int64_t count[2];
};

__global__ void __launch_bounds__(kThreads) longest_kernel(Longest of, float* longest) {
  const float* norms = of.norms[blockIdx.x];
  const int64_t count = of.count[blockIdx.x];
  float largest = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) largest = Max{}(largest, norms[i]);
  largest = block_max(largest);
  if (threadIdx.x == 0) longest[blockIdx.x] = largest;
}

struct Reset {
  RunningSum* sums;

  __device__ void operator()(int64_t k) const { sums[k] = RunningSum::none(); }
};

struct Merge {
  SumPartials partials;
  RunningSum* sums;
  int tiles, count;
};
constexpr int kMostMerges = 6, kParts = 8, kPositions = 32;
struct Merges {
  Merge merge[kMostMerges];
};

__global__ void __launch_bounds__(kParts* kPositions) merge_kernel(Merges merges) {
  DUET_SHARED(RunningSum, parts, [kParts][kPositions]);
  const Merge& merge = merges.merge[blockIdx.y];
  const int lane = static_cast<int>(threadIdx.x) % kPositions, part = static_cast<int>(threadIdx.x) / kPositions;
  const int position = static_cast<int>(blockIdx.x) * kPositions + lane;
  RunningSum sum = RunningSum::none();
  if (position < merge.count) {
    const int end = merge.tiles * (part + 1) / kParts;
    for (int tile = merge.tiles * part / kParts; tile < end; ++tile) {
      const int64_t at = tile * merge.partials.stride + position;
      sum.add(merge.partials.shift ? merge.partials.shift[at] : 0, merge.partials.sum[at],
              merge.partials.cross ? merge.partials.cross[at] : 0);
    }
  }
  parts[part][lane] = sum;
#ifndef DUET_PLANT_MISSING_BARRIER  // planted_barrier_test.cpp
  __syncthreads();
#endif
  if (part > 0 || position >= merge.count) return;
  RunningSum total = merge.sums[position];
  for (int k = 0; k < kParts; ++k) total.add(parts[k][lane]);
  merge.sums[position] = total;
}

SumPartials take_partials(Workspace& workspace, int64_t tiles, int64_t positions, Shift shift, Cross cross) {
  const int64_t count = tiles * positions;
  return {shift == Shift::yes ? workspace.take<float>(count) : nullptr, workspace.take<float>(count),
          cross == Cross::yes ? workspace.take<float>(count) : nullptr, positions};
}

}  // namespace

ScoreRows::ScoreRows(Workspace& workspace, duet_precision precision, int64_t n, int64_t m, int64_t d)
    : view_{reserve_rows(workspace, precision, n, d), reserve_rows(workspace, precision, m, d), nullptr, nullptr},
      norm_a_(workspace.take<float>(packed_rows(n))),
      norm_v_(workspace.take<float>(packed_rows(m))),
      longest_(workspace.take<float>(2)) {
  view_.longest = longest_;
}

void store_longest(const duet_context& context, Vector<const float> a, Vector<const float> v, float* longest) {
  DUET_LAUNCH(longest_kernel, 2, kThreads, 0, context.stream)(Longest{{a.data, v.data}, {a.size, v.size}}, longest);
}

void ScoreRows::prepare(const duet_context& context, Matrix<const float> a, Matrix<const float> v,
                        Vector<const float> scale) {
  view_.scale = scale.data;
  RowNorms of_a, of_v;
  of_a.norm = norm_a_;
  of_v.norm = norm_v_;
  pack_rows(context, a, of_a, view_.a);
  pack_rows(context, v, of_v, view_.v);
  store_longest(context, {norm_a_, a.rows}, {norm_v_, v.rows}, longest_);
}

SweepSums::SweepSums(Workspace& workspace, int64_t n, int64_t m, int tile_columns, Shift shift, Cross cross,
                     Directions directions, int64_t block_rows)
    : n_(n), m_(directions == Directions::both ? m : 0), directions_(directions) {
  const int64_t rows = std::min(packed_rows(n), block_rows), columns = std::min(packed_rows(m), kForwardColumns);
  partials_.rows = take_partials(workspace, columns / tile_columns, rows, shift, cross);
  rows_ = workspace.take<RunningSum>(n);
  if (directions == Directions::rows) return;
  partials_.columns = take_partials(workspace, rows / kTileRows, columns, shift, cross);
  columns_ = workspace.take<RunningSum>(m);
}

void SweepSums::begin(const duet_context& context) const {
  for_each_position(context, n_, Reset{rows_});
  for_each_position(context, m_, Reset{columns_});
}

void merge_sums(const duet_context& context, const Block& block, int tile_columns,
                std::initializer_list<const SweepSums*> sums) {
  Merges merges{};
  unsigned count = 0;
  for (const SweepSums* pair : sums) {
    if (pair->empty()) continue;
    merges.merge[count++] = {pair->partials().rows, pair->rows() + block.first_row,
                             ceil_div(block.columns, tile_columns), block.rows};
    if (pair->directions() == Directions::rows) continue;
    merges.merge[count++] = {pair->partials().columns, pair->columns() + block.first_column,
                             ceil_div(block.rows, kTileRows), block.columns};
  }
  const auto across = static_cast<unsigned>(ceil_div(std::max(block.rows, block.columns), kPositions));
  DUET_LAUNCH(merge_kernel, dim3(across, count), kParts * kPositions, 0, context.stream)(merges);
}

}  // namespace duet::cuda
