// Plan. Forward: a walk over tiles of scores (distance_tile_cuda.h), their exponentials summed along rows and columns
// at once (softmax_sweep.h), nothing of them stored: one product, at n = m = 16384, d = 512 275 GFLOP. The epilogue is
// some 6 instructions and one ex2 an element, with the reductions 1,100 a warp: 3,000 cycles of an SM in tf32 and bf16,
// of which the ex2 are 2,050, and 2 % of a tf32x3 tile. Cycles a tile in bf16: mma 13,700 + 3,000, L2 11,000: 17,400,
// 64 tiles for each of 128 SMs 0.64 ms, packing, merge and five small launches 0.04. tf32: 27,500 + 3,000, L2 29,400:
// 32,000. Expected: fp32 6.1 ms (45 TFLOP/s), tf32x3 3.5 (79), tf32 1.23 (224), bf16 0.68 (405).
// Backward: the tile again, two ex2 an element, d loss/d score packed block after block, and its two products: three
// products, 825 GFLOP and 3 GB through L2 and memory. Expected: tf32x3 11 ms, bf16 2.8.
#include "kernels/alignment/alignment_backends.h"
#include "kernels/core/own_pair.h"
#include "kernels/cuda/softmax_sweep.h"
#include "kernels/distance/distance_gradient_cuda.h"

namespace duet::cuda {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const AlignmentInputs& in)
      : rows(workspace, context.precision, in.score, in.a.rows, in.v.rows, in.a.columns),
        gradients(workspace, context.precision, in.score, in.a.rows, in.v.rows, in.a.columns),
        sums(workspace, in.a.rows, in.v.rows),
        scale(workspace, in.a.rows, in.v.rows),
        row_sums(workspace.take<ProbabilityRow>(in.a.rows)) {}

  DistanceRows rows;
  DistanceGradients gradients;
  SoftmaxSums sums;
  ScaleGradient scale;
  ProbabilityRow* row_sums;  // n
};

// A distance counts negatively.
__device__ __forceinline__ float signed_scale(duet_metric score, const float* scale) {
  return score == DUET_METRIC_INNER ? *scale : -*scale;
}

// Whether no score of the tile can be larger in size than kBoundedScore, by its rows' norms; the same for all threads.
template <class T>
__device__ __forceinline__ bool is_bounded(const DistanceView& rows, const TilePlace& place, float scale) {
  float x = kSmallestSquare, y = kSmallestSquare;  // smaller squares have lost their digits
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r) x = Max()(x, rows.square_x[place.first_row + T::row(r)]);
  DUET_UNROLL
  for (int c = 0; c < T::kThreadColumns; ++c) y = Max()(y, rows.square_y[place.first_column + T::column(c)]);
  x = sqrtf(x), y = sqrtf(y);
  float bound = x * y;
  if (rows.metric == DUET_METRIC_COSINE) bound += 1;
  if (rows.metric == DUET_METRIC_EUCLIDEAN) bound = x + y;
  if (rows.metric == DUET_METRIC_SQEUCLIDEAN) bound = (x + y) * (x + y);
  return !__syncthreads_or(!(1.001f * fabsf(scale) * bound <= kBoundedScore));
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    alignment_kernel(DistanceView rows, const float* scale, Walk<T> walk, SoftmaxSumsView out) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  typename T::Loop loop{shared, walk.kept_steps};
  for (int tile = walk.first(); tile < walk.end(); ++tile) {
    const TilePlace place = walk.place(tile);
    const bool bounded =
        is_bounded<T>(rows, place, *scale);  // before the scores, beside which its registers have no place
    typename T::Values scores;
    fill_distances<T>(loop, rows, place, walk.place(tile + 1), scores);
    const float factor = kLog2E * signed_scale(rows.metric, scale);
    T::for_each(scores, [&](float& score) { score = __fmul_rn(score, factor); });  // as scale_dots
    T::fill_outside(place.rows, place.columns, -INFINITY, scores);
    take_scores<T>(loop.scratch(), out, place, bounded, scores);
  }
}

// A row's or column's place in a softmax: its log-sum-exp times log2 e, +inf where it takes no part, and its upstream
// weight, NaN where that finds no softmax. So e^min(x, 0) may drop a NaN.
struct Pull {
  float log_sum = INFINITY, weight = 0;

  __device__ __forceinline__ float of(float score) const { return weight * ptx::exp2(fminf(score - log_sum, 0)); }
};
__device__ __forceinline__ Pull pull_of(Vector<const float> lse, Vector<const float> weight, int64_t i, bool inside) {
  const float w = inside && weight.data ? __ldg(weight.data + i) : 0;
  if (w == 0) return {};
  const float log_sum = __ldg(lse.data + i);
  return {kLog2E * log_sum, taking_part(w, log_sum)};
}

// d loss/d score from the log-sum-exps of rows and columns.
template <class T>
struct PulledScores {
  float scale;  // of the score
  const TilePlace& place;
  Vector<const float> lse_column, weight_column;
  float* scale_sum;  // of d loss/d score times distance
  Pull rows[T::kThreadRows];

  struct Column {
    const PulledScores& of;
    bool inside;
    Pull column;
    // A choice at the end and not a branch at the start: the branches of 128 elements would be what the epilogue mostly
    // does.
    __device__ __forceinline__ PairGradient operator()(int r, float distance) const {
      const float score = of.scale * kLog2E * distance;
      const float g = of.rows[r].of(score) + column.of(score);
      const bool taken = inside && T::row(r) < of.place.rows;
      *of.scale_sum =
          taken && g != 0 ? fmaf(g, distance, *of.scale_sum) : *of.scale_sum;  // the distance may be infinite
      return {distance, taken ? of.scale * g : 0};
    }
  };
  __device__ __forceinline__ Column column(int c) const {
    const bool inside = T::column(c) < place.columns;
    return {*this, inside, pull_of(lse_column, weight_column, place.first_column + T::column(c), inside)};
  }
};

// The tile's part of d loss/d scale. All threads of the block.
__device__ __forceinline__ void store_scale(float sum, duet_metric score, double* tiles) {
  const double total = block_sum(static_cast<double>(sum));
  if (threadIdx.x == 0) tiles[blockIdx.x] = score == DUET_METRIC_INNER ? total : -total;
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    alignment_gradient_kernel(DistanceView rows, const float* scale, Block block, Vector<const float> lse_row,
                              Vector<const float> lse_column, Vector<const float> weight_row,
                              Vector<const float> weight_column, DistanceGradientView out, double* scale_tiles) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  const TilePlace place = tile_of<T>(block, blockIdx.x);
  typename T::Values values;
  fill_distances<T>(shared, rows, place, values);
  float scale_sum = 0;
  PulledScores<T> scores{signed_scale(rows.metric, scale), place, lse_column, weight_column, &scale_sum, {}};
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r)
    scores.rows[r] = pull_of(lse_row, weight_row, place.first_row + T::row(r), T::row(r) < place.rows);
  take_gradient<T>(shared, rows, out, place, scores, values);
  store_scale(scale_sum, rows.metric, scale_tiles);
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    probabilities_kernel(DistanceView rows, const float* scale, Walk<T> walk, Vector<const float> lse_row,
                         Matrix<float> probabilities) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  typename T::Loop loop{shared, walk.kept_steps};
  for (int tile = walk.first(); tile < walk.end(); ++tile) {
    const TilePlace place = walk.place(tile);
    typename T::Values values;
    fill_distances<T>(loop, rows, place, walk.place(tile + 1), values);
    const float factor = kLog2E * signed_scale(rows.metric, scale);
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const float lse = T::row(r) < place.rows ? __ldg(lse_row.data + place.first_row + T::row(r)) : 0,
                  one = taking_part(1, lse);
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c)
        values(r, c) = one * ptx::exp2(fminf(fmaf(factor, values(r, c), -kLog2E * lse), 0));
    }
    T::store(values, probabilities.data + place.first_row * probabilities.stride + place.first_column,
             probabilities.stride, place.rows, place.columns);
  }
}

// A warp a row.
constexpr int kRowThreads = 128;
__global__ void __launch_bounds__(kRowThreads)
    row_sums_kernel(Matrix<const float> p, Matrix<const float> grad, ProbabilityRow* rows) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kRowThreads / 32) + threadIdx.x / 32;
  if (i >= p.rows) return;
  const float *const of = p.row(i), *const given = grad.row(i);
  const int64_t lane = threadIdx.x & 31;
  Placed largest{-1, -1};  // at -1: none
  for (int64_t j = lane; j < p.columns; j += 32)
    if (of[j] > largest.value) largest = {of[j], j};
  largest = warp_reduce(largest, LargerFirst());
  const double pivot = largest.at < 0 ? 0 : given[largest.at];  // none where all are NaN
  double rest = 0;
  for (int64_t j = lane; j < p.columns; j += 32) rest += of[j] * (pivot - given[j]);
  rest = warp_sum(rest);
  if (lane == 0) rows[i] = {static_cast<float>(pivot), static_cast<float>(rest)};
}

template <class T>
struct StoredProbabilities {
  float scale;
  const TilePlace& place;
  Matrix<const float> p, grad;
  float* scale_sum;
  ProbabilityRow rows[T::kThreadRows];

  struct Column {
    const StoredProbabilities& of;
    int column;
    __device__ __forceinline__ PairGradient operator()(int r, float distance) const {
      if (T::row(r) >= of.place.rows || column >= of.place.columns) return {1, 0};
      const int64_t i = of.place.first_row + T::row(r), j = of.place.first_column + column;
      const float g = __ldg(of.p.data + i * of.p.stride + j) *
                      ((__ldg(of.grad.data + i * of.grad.stride + j) - of.rows[r].pivot) + of.rows[r].rest);
      *of.scale_sum = g != 0 ? fmaf(g, distance, *of.scale_sum) : *of.scale_sum;  // the distance may be infinite
      return {distance, of.scale * g};
    }
  };
  __device__ __forceinline__ Column column(int c) const { return {*this, T::column(c)}; }
};

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    probabilities_gradient_kernel(DistanceView rows, const float* scale, Block block, Matrix<const float> p,
                                  Matrix<const float> grad_p, const ProbabilityRow* row_sums, DistanceGradientView out,
                                  double* scale_tiles) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  const TilePlace place = tile_of<T>(block, blockIdx.x);
  typename T::Values values;
  fill_distances<T>(shared, rows, place, values);
  float scale_sum = 0;
  StoredProbabilities<T> scores{signed_scale(rows.metric, scale), place, p, grad_p, &scale_sum, {}};
  DUET_UNROLL
  for (int r = 0; r < T::kThreadRows; ++r)
    scores.rows[r] = T::row(r) < place.rows ? row_sums[place.first_row + T::row(r)] : ProbabilityRow{0, 0};
  take_gradient<T>(shared, rows, out, place, scores, values);
  store_scale(scale_sum, rows.metric, scale_tiles);
}

// What both backward passes share; launch(tile type, block) forms a block of d loss/d score. On half tiles: a whole one
// and what marks its close pairs do not fit the registers.
template <class Launch>
void backward(const duet_context& context, const AlignmentInputs& inputs, const AlignmentGradients& out,
              Scratch& scratch, Launch&& launch) {
  scratch.rows.prepare(context, inputs.a, inputs.v);
  scratch.gradients.begin(context, scratch.rows, inputs.a, inputs.v, out.a, out.v);
  scratch.scale.begin(context);
  with_precision(context.precision, [&](auto precision) {
    using T = DualTile<decltype(precision)::value>;
    for_each_block(inputs.a.rows, inputs.v.rows, kBlockRows, kBackwardColumns, [&](const Block& block) {
      launch(T(), block);
      scratch.gradients.add(context, block, T::kColumns);
      scratch.scale.merge(context, tiles_of<T>(block));
    });
  });
  scratch.gradients.finish(context);
  if (out.scale) scratch.scale.finish(context, out.scale.data);
}

bool nothing_to_do(const AlignmentInputs& inputs, const AlignmentGradients& out) {
  return inputs.a.rows == 0 || inputs.v.rows == 0 || (!out.a && !out.v && !out.scale);
}

}  // namespace

size_t alignment_workspace(const duet_context& context, const AlignmentInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void alignment_forward(const duet_context& context, const AlignmentInputs& inputs, Vector<float> lse_row,
                       Vector<float> lse_column, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.rows.prepare(context, inputs.a, inputs.v);
  scratch.sums.begin(context);
  with_single_tile(context, [&](auto tile) {
    using T = decltype(tile);
    for_each_block(inputs.a.rows, inputs.v.rows, Walk<T>::kRows, kForwardColumns, [&](const Block& block) {
      const Walk<T> walk(context, block, scratch.rows.view().x.steps());
      DUET_LAUNCH(alignment_kernel<T>, walk.blocks(), T::kThreads, walk.shared_bytes(), context.stream)
      (scratch.rows.view(), inputs.scale.data, walk, scratch.sums.view());
      scratch.sums.merge(context, block, T::kColumns);
    });
  });
  scratch.sums.finish(context, lse_row, lse_column);
}

void alignment_backward(const duet_context& context, const AlignmentInputs& inputs, Vector<const float> lse_row,
                        Vector<const float> lse_column, Vector<const float> grad_lse_row,
                        Vector<const float> grad_lse_column, const AlignmentGradients& gradients,
                        const duet_workspace& workspace) {
  if ((!grad_lse_row && !grad_lse_column) || nothing_to_do(inputs, gradients)) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  backward(context, inputs, gradients, scratch, [&](auto tile, const Block& block) {
    using T = decltype(tile);
    DUET_LAUNCH(alignment_gradient_kernel<T>, tiles_of<T>(block), T::kThreads, T::kSharedBytes, context.stream)
    (scratch.rows.view(), inputs.scale.data, block, lse_row, lse_column, grad_lse_row, grad_lse_column,
     scratch.gradients.view(), scratch.scale.tiles());
  });
}

void alignment_probabilities(const duet_context& context, const AlignmentInputs& inputs, Vector<const float> lse_row,
                             Matrix<float> probabilities, const duet_workspace& workspace) {
  if (probabilities.rows == 0 || probabilities.columns == 0) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.rows.prepare(context, inputs.a, inputs.v);
  with_single_tile(context, [&](auto tile) {
    using T = decltype(tile);
    for_each_block(probabilities.rows, probabilities.columns, Walk<T>::kRows, kForwardColumns, [&](const Block& block) {
      const Walk<T> walk(context, block, scratch.rows.view().x.steps());
      DUET_LAUNCH(probabilities_kernel<T>, walk.blocks(), T::kThreads, walk.shared_bytes(), context.stream)
      (scratch.rows.view(), inputs.scale.data, walk, lse_row, probabilities);
    });
  });
}

void alignment_probabilities_backward(const duet_context& context, const AlignmentInputs& inputs,
                                      Matrix<const float> probabilities, Matrix<const float> grad_probabilities,
                                      const AlignmentGradients& gradients, const duet_workspace& workspace) {
  if (nothing_to_do(inputs, gradients)) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  DUET_LAUNCH(row_sums_kernel, (probabilities.rows + kRowThreads / 32 - 1) / (kRowThreads / 32), kRowThreads, 0,
              context.stream)
  (probabilities, grad_probabilities, scratch.row_sums);
  backward(context, inputs, gradients, scratch, [&](auto tile, const Block& block) {
    using T = decltype(tile);
    DUET_LAUNCH(probabilities_gradient_kernel<T>, tiles_of<T>(block), T::kThreads, T::kSharedBytes, context.stream)
    (scratch.rows.view(), inputs.scale.data, block, probabilities, grad_probabilities, scratch.row_sums,
     scratch.gradients.view(), scratch.scale.tiles());
  });
}

}  // namespace duet::cuda
