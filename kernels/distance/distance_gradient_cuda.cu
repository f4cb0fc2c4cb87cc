// A thread owns a row's or column's sum of the factor, a warp a row's close pairs and what the products leave out.
// Bytes: 4 of partial sums a tile and row; the rows of close pairs; in the end (n + m) d floats.
// Products: none; the two with G are cuda/sweep.h's. PLAN.md has the figures.
#include <algorithm>

#include "kernels/distance/distance_gradient_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;

int64_t blocks_for(int64_t warps) { return ceil_div(warps, kWarps); }

__device__ __forceinline__ int64_t warp_index() { return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; }
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) & 31; }

// sums[i] += the tiles' partials, in their order.
__global__ void __launch_bounds__(kThreads)
    add_partial_sums_kernel(const float* partials, int tiles, int64_t stride, int count, double* sums) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  double sum = sums[i];
  for (int tile = 0; tile < tiles; ++tile) sum += partials[tile * stride + i];
  sums[i] = sum;
}

// The rows of one side, given, and what makes them unit rows; null: nothing does.
struct CloseRows {
  Matrix<const float> rows;
  const double* inverse;

  CloseRows(Matrix<const float> all, const double* inverse, int64_t first, int64_t count)
      : rows(all.part(first, 0, count, all.columns)), inverse(inverse ? inverse + first : nullptr) {}
  __device__ double factor(int64_t i) const { return inverse ? inverse[i] : 1; }
};

// to_i -= factor_ij (row_i - other_j) / D_ij for the close pairs of the block, of cosine without D for the gradient of
// unit rows, which project_kernel takes across the row; their factor becomes 0, and so do bits and marks.
__global__ void __launch_bounds__(kThreads)
    add_close_pairs_kernel(unsigned* bits, int* marks, Packed factors, CloseRows rows, CloseRows others, bool euclidean,
                           Matrix<float> to, const float* unless_zero) {
  const int64_t i = warp_index(), columns = rows.rows.columns;
  const int lane = lane_index();
  if (i >= rows.rows.rows || marks[i] == 0 || points_to_zero(unless_zero)) return;
  const float* row = rows.rows.row(i);
  float* sum = to.row(i);
  const double of_row = rows.factor(i);
  for (int first = 0; first < kBitWords; first += 32) {
    const unsigned mine = bits[i * kBitWords + first + lane];
    for (unsigned words = __ballot_sync(kAllLanes, mine != 0); words; words &= words - 1) {
      const int from = __ffs(static_cast<int>(words)) - 1;
      for (unsigned word = __shfl_sync(kAllLanes, mine, from); word; word &= word - 1) {
        const int64_t j = 32 * (first + from) + __ffs(static_cast<int>(word)) - 1;
        uint32_t* place = factors.words + i * factors.stride + j;
        const float* other = others.rows.row(j);
        const double of_other = others.factor(j);
        double factor = __uint_as_float(*place);
        __syncwarp();
        if (lane == 0) *place = 0;
        if (euclidean) {
          double square = 0;
          for (int64_t k = lane; k < columns; k += 32) {
            const double difference = static_cast<double>(row[k]) - other[k];
            square += difference * difference;
          }
          square = warp_sum(square);
          factor = square == 0 ? 0 : factor / sqrt(square);
        }
        for (int64_t k = lane; k < columns; k += 32)
          sum[k] -= static_cast<float>(factor * (row[k] * of_row - other[k] * of_other));
      }
    }
    bits[i * kBitWords + first + lane] = 0;
  }
  __syncwarp();
  if (lane == 0) marks[i] = 0;
}

// grad_i -= sum_i row_i: what the products leave out of sum_j H_ij (x_i - y_j), H being minus the factor.
__global__ void __launch_bounds__(kThreads)
    subtract_rows_kernel(const double* sums, Matrix<const float> rows, Matrix<float> grad, const float* unless_zero) {
  const int64_t i = warp_index();
  if (i >= rows.rows || points_to_zero(unless_zero)) return;
  const float sum = static_cast<float>(sums[i]);
  for (int64_t k = lane_index(); k < rows.columns; k += 32)
    grad.data[i * grad.stride + k] -= sum * rows.data[i * rows.stride + k];
}

// grad_i -= (g_i - (g_i.u_i) u_i) / norm_i, g_i the gradient of u_i.w_j; nothing for a row without direction.
__global__ void __launch_bounds__(kThreads)
    project_kernel(Matrix<const float> g, RowNorms norms, Matrix<const float> rows, Matrix<float> grad,
                   const float* unless_zero) {
  const int64_t i = warp_index();
  if (i >= rows.rows || norms.length[i] < kSmallestNorm || points_to_zero(unless_zero)) return;
  const float *row = rows.data + i * rows.stride, *of_unit = g.data + i * g.stride;
  const double inverse = norms.inverse[i];
  double along = 0;
  for (int64_t k = lane_index(); k < rows.columns; k += 32) along += of_unit[k] * (row[k] * inverse);
  along = warp_sum(along);
  for (int64_t k = lane_index(); k < rows.columns; k += 32)
    grad.data[i * grad.stride + k] -= static_cast<float>((of_unit[k] - along * (row[k] * inverse)) * inverse);
}

}  // namespace

DistanceGradients::Side DistanceGradients::take(Workspace& workspace, int64_t rows, int64_t others, int64_t d) const {
  Side side;
  if (metric_ == DUET_METRIC_COSINE) {
    side.unit = workspace.take_matrix<float>(rows, d);
  } else if (metric_ != DUET_METRIC_INNER) {
    side.sum = workspace.take<double>(rows);
    side.partial_sums =
        workspace.take<float>(std::min(packed_rows(others), kBackwardColumns) / dual_columns(precision_) * kBlockRows);
  }
  if ((metric_ == DUET_METRIC_EUCLIDEAN || metric_ == DUET_METRIC_COSINE) && is_exact(precision_)) {
    const int64_t of_block = std::min(packed_rows(rows), kBlockRows);
    side.bits = workspace.take<unsigned>(of_block * kBitWords);
    side.marks = workspace.take<int>(of_block);
  }
  return side;
}

DistanceGradients::DistanceGradients(Workspace& workspace, duet_precision precision, duet_metric metric, int64_t n,
                                     int64_t m, int64_t d)
    : metric_(metric),
      precision_(precision),
      x_(take(workspace, n, m, d)),
      y_(take(workspace, m, n, d)),
      products_(workspace, precision, n, m, d) {}

void DistanceGradients::begin(const duet_context& context, const DistanceRows& rows, Matrix<const float> x,
                              Matrix<const float> y, Matrix<float> grad_x, Matrix<float> grad_y,
                              const float* unless_zero) {
  unless_zero_ = unless_zero;
  const auto prepare = [&](Side& side, Matrix<const float> given, Matrix<float> grad, const RowNorms& norms) {
    side.rows = given;
    side.grad = grad;
    side.norms = norms;
    if (!grad) return;
    if (side.unit) fill(context, side.unit.data, side.unit.rows * side.unit.columns, 0.0f);
    if (side.sum) fill(context, side.sum, given.rows, 0.0);
    const int64_t of_block = std::min(packed_rows(given.rows), kBlockRows);
    if (side.bits) fill(context, side.bits, of_block * kBitWords, 0u);
    if (side.marks) fill(context, side.marks, of_block, 0);
  };
  prepare(x_, x, grad_x, rows.norms_x());
  prepare(y_, y, grad_y, rows.norms_y());
  const bool cosine = metric_ == DUET_METRIC_COSINE;
  products_.begin(context, x, rows.norms_x().inverse, y, rows.norms_y().inverse, grad_x && cosine ? x_.unit : grad_x,
                  grad_y && cosine ? y_.unit : grad_y, unless_zero);
  view_ = {};
  view_.block = products_.block();
  if (grad_x) view_.row_sums = x_.partial_sums, view_.row_bits = x_.bits, view_.row_marks = x_.marks;
  if (grad_y) view_.column_sums = y_.partial_sums, view_.column_bits = y_.bits, view_.column_marks = y_.marks;
}

void DistanceGradients::add(const duet_context& context, const Block& block) {
  const auto merge = [&](const Side& side, int64_t first, int count, int others, int tile) {
    if (!side.grad || !side.sum) return;
    DUET_LAUNCH(add_partial_sums_kernel, ceil_div(count, kThreads), kThreads, 0, context.stream)
    (side.partial_sums, ceil_div(others, tile), kBlockRows, count, side.sum + first);
  };
  merge(x_, block.first_row, block.rows, block.columns, dual_columns(precision_));
  merge(y_, block.first_column, block.columns, block.rows, kTileRows);
  const CloseRows x(x_.rows, x_.norms.inverse, block.first_row, block.rows),
      y(y_.rows, y_.norms.inverse, block.first_column, block.columns);
  const auto close = [&](const Side& side, const Packed& factors, int64_t first, int count, const CloseRows& rows,
                         const CloseRows& others) {
    if (!side.grad || !side.bits) return;
    const Matrix<float> to = side.unit ? side.unit : side.grad;
    DUET_LAUNCH(add_close_pairs_kernel, blocks_for(count), kThreads, 0, context.stream)
    (side.bits, side.marks, factors, rows, others, metric_ == DUET_METRIC_EUCLIDEAN,
     to.part(first, 0, count, to.columns), unless_zero_);
  };
  close(x_, view_.block.g, block.first_row, block.rows, x, y);
  close(y_, view_.block.transposed, block.first_column, block.columns, y, x);
  products_.add(context, block);
}

void DistanceGradients::finish(const duet_context& context) {
  for (const Side* side : {&x_, &y_}) {
    if (!side->grad) continue;
    const int64_t blocks = blocks_for(side->rows.rows);
    if (side->unit) DUET_LAUNCH(project_kernel, blocks, kThreads, 0, context.stream)
    (side->unit, side->norms, side->rows, side->grad, unless_zero_);
    if (side->sum) DUET_LAUNCH(subtract_rows_kernel, blocks, kThreads, 0, context.stream)
    (side->sum, side->rows, side->grad, unless_zero_);
  }
}

}  // namespace duet::cuda
