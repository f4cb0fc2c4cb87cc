// Plan. A thread merges a row's (or column's) sums in the order of the tiles: at most 16384 x 128 of 8 bytes a block,
// 17 MB from the L2, some 10 us beside the block's 0.65 ms (bf16) to 3.5 ms (tf32x3, in four) at d = 512; threads
// beside each other read beside each other.
#include <algorithm>

#include "kernels/cuda/softmax_sweep.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBatch = 16;  // tiles whose sums are on their way at once: a wait for L2 in 16
constexpr int64_t kFewestColumns = SingleTile<DUET_PRECISION_FP32>::kColumns,
                  kFewestHalfColumns = DualTile<DUET_PRECISION_FP32>::kColumns;

int64_t blocks_for(int64_t threads) { return (threads + kThreads - 1) / kThreads; }

__global__ void __launch_bounds__(kThreads) begin_kernel(RunningLogSum* sums, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) sums[i] = {-INFINITY, 0};
}

__global__ void __launch_bounds__(kThreads)
    merge_kernel(const TileSum* partials, int tiles, int64_t stride, int count, RunningLogSum* sums) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  RunningLogSum sum = sums[i];
  for (int tile = 0; tile < tiles; tile += kBatch) {
    TileSum batch[kBatch];
    DUET_UNROLL
    for (int k = 0; k < kBatch; ++k)
      if (tile + k < tiles) batch[k] = partials[(tile + k) * stride + i];
    DUET_UNROLL
    for (int k = 0; k < kBatch; ++k)
      if (tile + k < tiles) sum.add(batch[k]);
  }
  sums[i] = sum;
}

__global__ void __launch_bounds__(kThreads) finish_kernel(const RunningLogSum* sums, Vector<float> lse) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < lse.size) lse.data[i] = static_cast<float>(sums[i].log());
}

// One block: thread k adds the tiles k, k + kThreads, ...
__global__ void __launch_bounds__(kThreads) merge_scale_kernel(const double* tiles, int64_t count, double* total) {
  double sum = 0;
  for (int64_t k = threadIdx.x; k < count; k += kThreads) sum += tiles[k];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total += sum;
}

__global__ void finish_scale_kernel(const double* total, float* scale) { *scale += static_cast<float>(*total); }

}  // namespace

SoftmaxSums::SoftmaxSums(Workspace& workspace, int64_t n, int64_t m) : n_(n), m_(m) {
  rows_ = workspace.take<RunningLogSum>(n);
  columns_ = workspace.take<RunningLogSum>(m);
  view_.row_stride = std::min(packed_rows(n), kForwardRows);
  view_.column_stride = std::min(packed_rows(m), kForwardColumns);
  view_.rows = workspace.take<TileSum>(view_.column_stride / kFewestColumns * view_.row_stride);
  view_.columns = workspace.take<TileSum>(view_.row_stride / kTileRows * view_.column_stride);
}

void SoftmaxSums::begin(const duet_context& context) const {
  DUET_LAUNCH(begin_kernel, blocks_for(n_), kThreads, 0, context.stream)(rows_, n_);
  DUET_LAUNCH(begin_kernel, blocks_for(m_), kThreads, 0, context.stream)(columns_, m_);
}

void SoftmaxSums::merge(const duet_context& context, const Block& block, int tile_columns) const {
  DUET_LAUNCH(merge_kernel, blocks_for(block.rows), kThreads, 0, context.stream)
  (view_.rows, (block.columns + tile_columns - 1) / tile_columns, view_.row_stride, block.rows,
   rows_ + block.first_row);
  DUET_LAUNCH(merge_kernel, blocks_for(block.columns), kThreads, 0, context.stream)
  (view_.columns, (block.rows + kTileRows - 1) / kTileRows, view_.column_stride, block.columns,
   columns_ + block.first_column);
}

void SoftmaxSums::finish(const duet_context& context, Vector<float> lse_row, Vector<float> lse_column) const {
  if (lse_row) DUET_LAUNCH(finish_kernel, blocks_for(n_), kThreads, 0, context.stream)(rows_, lse_row);
  if (lse_column) DUET_LAUNCH(finish_kernel, blocks_for(m_), kThreads, 0, context.stream)(columns_, lse_column);
}

ScaleGradient::ScaleGradient(Workspace& workspace, int64_t n, int64_t m)
    : tiles_(workspace.take<double>(std::min(packed_rows(n), kBlockRows) / kTileRows *
                                    (std::min(packed_rows(m), kBackwardColumns) / kFewestHalfColumns))),
      total_(workspace.take<double>(1)) {}

void ScaleGradient::begin(const duet_context& context) const { fill(context, total_, 1, 0.0); }

void ScaleGradient::merge(const duet_context& context, int64_t tiles) const {
  DUET_LAUNCH(merge_scale_kernel, 1, kThreads, 0, context.stream)(tiles_, tiles, total_);
}

void ScaleGradient::finish(const duet_context& context, float* scale) const {
  DUET_LAUNCH(finish_scale_kernel, 1, 1, 0, context.stream)(total_, scale);
}

}  // namespace duet::cuda
