// A block of threads owns a tile of scores and walks along a row of tiles; backward it owns one of d loss/d score.
// Bytes: packed operands from L2; 8 that a tile says of a row and of a column; backward the tile as G and G^T.
// Products: forward one, backward three. PLAN.md has the figures.
#include "kernels/alignment/alignment_backends.h"
#include "kernels/core/own_pair.h"
#include "kernels/distance/distance_gradient_cuda.h"
#include "kernels/pairs/driver_cuda.h"

namespace duet::cuda {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const AlignmentInputs& in)
      : n(in.a.rows),
        m(in.v.rows),
        shape(single_tile_shape(context)),
        rows(workspace, context.precision, in.score, n, m, in.a.columns),
        gradients(workspace, context.precision, in.score, n, m, in.a.columns),
        sums(workspace, n, m, shape.columns, Shift::yes, Cross::no, Directions::both, shape.block_rows),
        scale_sums(workspace, n, m, dual_columns(context.precision)),
        longest(workspace.take<float>(2)),
        row_sums(workspace.take<ProbabilityRow>(n)) {}

  int64_t n, m;
  TileShape shape;
  DistanceRows rows;
  DistanceGradients gradients;
  SweepSums sums;
  TileSums scale_sums;
  float* longest;            // 2: the largest squared norms
  ProbabilityRow* row_sums;  // n
};

// The own pairs, where they take no part.
struct ExcludedPairs {
  bool any;
  int64_t own;  // row i and column i + own are one pair

  explicit ExcludedPairs(const AlignmentInputs& in) : any(in.exclude_own), own(in.first_row - in.first_column) {}
  template <class T>
  __device__ __forceinline__ OwnPairs in_tile(const TilePlace& place) const {
    return own_pairs<T>(any, own, place);
  }
};

// A distance counts negatively.
__device__ __forceinline__ float signed_scale(duet_metric score, const float* scale) {
  return score == DUET_METRIC_INNER ? *scale : -*scale;
}

// Whether no score can be larger in size than kBoundedScore; longest: the squared norms of the longest row of each
// side.
__device__ __forceinline__ bool is_bounded(duet_metric metric, const float* longest, float scale) {
  // Smaller squares have lost their digits.
  const float x = sqrtf(Max()(longest[0], kSmallestSquare)), y = sqrtf(Max()(longest[1], kSmallestSquare));
  float bound = x * y;
  if (metric == DUET_METRIC_COSINE) bound += 1;
  if (metric == DUET_METRIC_EUCLIDEAN) bound = x + y;
  if (metric == DUET_METRIC_SQEUCLIDEAN) bound = (x + y) * (x + y);
  return 1.001f * fabsf(scale) * bound <= kBoundedScore;  // NaN: no
}

struct AlignmentForward {
  static constexpr bool kAlone = true;
  DistanceView rows;
  const float *scale, *longest;
  ExcludedPairs excluded;
  SweepPartials sums;

  int steps() const { return rows.x.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values scores;
    fill_distances<T>(loop, rows, place, walk.place(tile + 1), scores);
    const float factor = kLog2E * signed_scale(rows.metric, scale);
    T::for_each(scores, [&](float& score) { score = __fmul_rn(score, factor); });  // as scale_dots
    T::fill_outside(place.rows, place.columns, -INFINITY, scores);
    replace_own<T>(excluded.in_tile<T>(place), -INFINITY, scores);
    const bool bounded = is_bounded(rows.metric, longest, *scale);
    accumulate_exponentials<T, false>(loop.scratch(), place, bounded, scores, scores, sums);
  }
};

struct WriteLogSums {
  const RunningSum* sums;
  float* lse;

  __device__ void operator()(int64_t i) const { lse[i] = static_cast<float>(sums[i].log()); }
};

// A row's or column's weight in the gradient: its log-sum-exp times log2 e, +inf where it takes no part, and its
// upstream weight, NaN where that finds no softmax. So e^min(x, 0) may drop a NaN.
struct SoftmaxWeight {
  float log_sum = INFINITY, weight = 0;

  __device__ __forceinline__ float of(float score) const { return weight * ptx::exp2(fminf(score - log_sum, 0)); }
};
__device__ __forceinline__ SoftmaxWeight softmax_weight(Vector<const float> lse, Vector<const float> weight, int64_t i,
                                                        bool inside) {
  const float w = inside && weight.data ? __ldg(weight.data + i) : 0;
  if (w == 0) return {};
  const float log_sum = __ldg(lse.data + i);
  return {kLog2E * log_sum, checked_weight(w, log_sum)};
}

// The tile's row that forms an excluded own pair with a column; -1: none.
__device__ __forceinline__ int excluded_row_of(const OwnPairs& excluded, int column) {
  return excluded.any ? column - excluded.offset : -1;
}

// d loss/d score from the log-sum-exps of rows and columns. kExcludes: own pairs take no part; apart, so that other
// calls need no registers for it.
template <class T, bool kExcludes>
struct LogSumGradient {
  float scale;  // of the score
  const TilePlace& place;
  Vector<const float> lse_column, weight_column;
  float* scale_sum;  // of d loss/d score times distance
  OwnPairs excluded;
  SoftmaxWeight rows[T::kThreadRows];

  struct Column {
    const LogSumGradient& of;
    bool inside;
    int excluded_row;  // of the tile, that takes no part; below 0: none
    SoftmaxWeight column;
    // A choice at the end and not a branch at the start: the branches of 128 elements would be what the epilogue mostly
    // does.
    __device__ __forceinline__ PairGradient operator()(int r, float distance) const {
      const float score = of.scale * kLog2E * distance;
      const float g = of.rows[r].of(score) + column.of(score);
      const bool taken = inside && T::row(r) < of.place.rows && (!kExcludes || T::row(r) != excluded_row);
      *of.scale_sum =
          taken && g != 0 ? fmaf(g, distance, *of.scale_sum) : *of.scale_sum;  // the distance may be infinite
      return {distance, taken ? of.scale * g : 0};
    }
  };
  __device__ __forceinline__ Column column(int c) const {
    const bool inside = T::column(c) < place.columns;
    return {*this, inside, excluded_row_of(excluded, T::column(c)),
            softmax_weight(lse_column, weight_column, place.first_column + T::column(c), inside)};
  }
};

// A tile of d loss/d score, and its part of d loss/d scale. All threads of the block.
template <class T, class Scores>
__device__ __forceinline__ void store_score_gradient(uint32_t* shared, const DistanceView& rows,
                                                     const DistanceGradientView& out, const TilePlace& place,
                                                     const Scores& scores, const float& scale_sum, double* scale_sums,
                                                     typename T::Values& values) {
  store_gradient<T>(shared, rows, out, place, scores, values);
  add_tile_sum(scale_sums, rows.metric == DUET_METRIC_INNER ? scale_sum : -scale_sum);
}

template <bool kExcludes>
struct AlignmentGradient {
  DistanceView rows;
  const float* scale;
  Vector<const float> lse_row, lse_column, weight_row, weight_column;
  ExcludedPairs excluded;
  DistanceGradientView out;
  double* scale_sums;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    typename T::Values values;
    fill_distances<T>(shared, rows, place, values);
    float scale_sum = 0;
    LogSumGradient<T, kExcludes> scores{signed_scale(rows.metric, scale), place, lse_column, weight_column, &scale_sum,
                                        excluded.in_tile<T>(place),       {}};
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r)
      scores.rows[r] = softmax_weight(lse_row, weight_row, place.first_row + T::row(r), T::row(r) < place.rows);
    store_score_gradient<T>(shared, rows, out, place, scores, scale_sum, scale_sums, values);
  }
};

struct Probabilities {
  static constexpr bool kAlone = true;
  DistanceView rows;
  const float* scale;
  Vector<const float> lse_row;
  ExcludedPairs excluded;
  Matrix<float> to;

  int steps() const { return rows.x.steps(); }
  template <class T>
  __device__ __forceinline__ void tile(typename T::Loop& loop, const Walk<T>& walk, int tile) const {
    const TilePlace place = walk.place(tile);
    typename T::Values values;
    fill_distances<T>(loop, rows, place, walk.place(tile + 1), values);
    const float factor = kLog2E * signed_scale(rows.metric, scale);
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      const float lse = T::row(r) < place.rows ? __ldg(lse_row.data + place.first_row + T::row(r)) : 0,
                  one = checked_weight(1, lse);
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c)
        values(r, c) = one * ptx::exp2(fminf(fmaf(factor, values(r, c), -kLog2E * lse), 0));
    }
    replace_own<T>(excluded.in_tile<T>(place), 0, values);
    T::store(values, to.data + place.first_row * to.stride + place.first_column, to.stride, place.rows, place.columns);
  }
};

// A warp a row; an excluded own pair's dP is not read.
constexpr int kRowThreads = 128;
__global__ void __launch_bounds__(kRowThreads)
    row_sums_kernel(Matrix<const float> p, Matrix<const float> grad, ExcludedPairs excluded, ProbabilityRow* rows) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kRowThreads / 32) + threadIdx.x / 32;
  if (i >= p.rows) return;
  const float *const of = p.row(i), *const given = grad.row(i);
  const int64_t own = excluded.any ? i + excluded.own : -1;
  const int64_t lane = threadIdx.x & 31;
  Placed largest{-1, -1};  // at -1: none
  for (int64_t j = lane; j < p.columns; j += 32)
    if (j != own && of[j] > largest.value) largest = {of[j], j};
  largest = warp_reduce(largest, LargerFirst());
  const double pivot = largest.at < 0 ? 0 : given[largest.at];  // none where all are NaN
  double rest = 0;
  for (int64_t j = lane; j < p.columns; j += 32)
    if (j != own) rest += of[j] * (pivot - given[j]);
  rest = warp_sum(rest);
  if (lane == 0) rows[i] = {static_cast<float>(pivot), static_cast<float>(rest)};
}

template <class T>
struct StoredProbabilities {
  float scale;
  const TilePlace& place;
  Matrix<const float> p, grad;
  float* scale_sum;
  OwnPairs excluded;
  ProbabilityRow rows[T::kThreadRows];

  struct Column {
    const StoredProbabilities& of;
    int column, excluded_row;
    __device__ __forceinline__ PairGradient operator()(int r, float distance) const {
      if (T::row(r) >= of.place.rows || column >= of.place.columns || T::row(r) == excluded_row) return {1, 0};
      const int64_t i = of.place.first_row + T::row(r), j = of.place.first_column + column;
      const float g = __ldg(of.p.data + i * of.p.stride + j) *
                      ((__ldg(of.grad.data + i * of.grad.stride + j) - of.rows[r].pivot) + of.rows[r].rest);
      *of.scale_sum = g != 0 ? fmaf(g, distance, *of.scale_sum) : *of.scale_sum;  // the distance may be infinite
      return {distance, of.scale * g};
    }
  };
  __device__ __forceinline__ Column column(int c) const {
    return {*this, T::column(c), excluded_row_of(excluded, T::column(c))};
  }
};

struct ProbabilitiesGradient {
  DistanceView rows;
  const float* scale;
  Matrix<const float> p, grad_p;
  ExcludedPairs excluded;
  const ProbabilityRow* row_sums;
  DistanceGradientView out;
  double* scale_sums;

  template <class T>
  __device__ __forceinline__ void tile(uint32_t* shared, const TilePlace& place) const {
    typename T::Values values;
    fill_distances<T>(shared, rows, place, values);
    float scale_sum = 0;
    StoredProbabilities<T> scores{signed_scale(rows.metric, scale), place, p, grad_p, &scale_sum,
                                  excluded.in_tile<T>(place),       {}};
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r)
      scores.rows[r] = T::row(r) < place.rows ? row_sums[place.first_row + T::row(r)] : ProbabilityRow{0, 0};
    store_score_gradient<T>(shared, rows, out, place, scores, scale_sum, scale_sums, values);
  }
};

// What both backward passes share; gradient_of() is called once all is prepared. On half tiles: a whole one and
// what marks its close pairs do not fit the registers.
template <class GradientOf>
void backward(const duet_context& context, const AlignmentInputs& inputs, const AlignmentGradients& out,
              Scratch& scratch, GradientOf&& gradient_of) {
  scratch.rows.prepare(context, inputs.a, inputs.v);
  scratch.gradients.begin(context, scratch.rows, inputs.a, inputs.v, out.a, out.v);
  const auto gradient = gradient_of();
  with_precision(context.precision, [&](auto precision) {
    sweep_backward<DualTile<decltype(precision)::value>>(context, scratch.n, scratch.m, gradient, scratch.gradients,
                                                         {{&scratch.scale_sums, out.scale}});
  });
  scratch.gradients.finish(context);
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
  const AlignmentForward forward{scratch.rows.view(), inputs.scale.data, scratch.longest, ExcludedPairs(inputs),
                                 scratch.sums.partials()};
  store_longest(context, {scratch.rows.norms_x().square, scratch.n}, {scratch.rows.norms_y().square, scratch.m},
                scratch.longest);
  with_single_tile(context, [&](auto tile) {
    sweep_forward<decltype(tile)>(context, scratch.n, scratch.m, scratch.shape.block_rows, forward, {&scratch.sums});
  });
  if (lse_row) for_each_position(context, scratch.n, WriteLogSums{scratch.sums.rows(), lse_row.data});
  if (lse_column) for_each_position(context, scratch.m, WriteLogSums{scratch.sums.columns(), lse_column.data});
}

void alignment_backward(const duet_context& context, const AlignmentInputs& inputs, Vector<const float> lse_row,
                        Vector<const float> lse_column, Vector<const float> grad_lse_row,
                        Vector<const float> grad_lse_column, const AlignmentGradients& gradients,
                        const duet_workspace& workspace) {
  if ((!grad_lse_row && !grad_lse_column) || nothing_to_do(inputs, gradients)) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  const auto run = [&](auto excludes) {
    backward(context, inputs, gradients, scratch, [&] {
      return AlignmentGradient<decltype(excludes)::value>{scratch.rows.view(),
                                                          inputs.scale.data,
                                                          lse_row,
                                                          lse_column,
                                                          grad_lse_row,
                                                          grad_lse_column,
                                                          ExcludedPairs(inputs),
                                                          scratch.gradients.view(),
                                                          scratch.scale_sums.data()};
    });
  };
  if (inputs.exclude_own)
    run(std::true_type());
  else
    run(std::false_type());
}

void alignment_probabilities(const duet_context& context, const AlignmentInputs& inputs, Vector<const float> lse_row,
                             Matrix<float> probabilities, const duet_workspace& workspace) {
  if (probabilities.rows == 0 || probabilities.columns == 0) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.rows.prepare(context, inputs.a, inputs.v);
  const Probabilities forward{scratch.rows.view(), inputs.scale.data, lse_row, ExcludedPairs(inputs), probabilities};
  with_single_tile(context, [&](auto tile) {
    sweep_forward<decltype(tile)>(context, scratch.n, scratch.m, scratch.shape.block_rows, forward);
  });
}

void alignment_probabilities_backward(const duet_context& context, const AlignmentInputs& inputs,
                                      Matrix<const float> probabilities, Matrix<const float> grad_probabilities,
                                      const AlignmentGradients& gradients, const duet_workspace& workspace) {
  if (nothing_to_do(inputs, gradients)) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  DUET_LAUNCH(row_sums_kernel, ceil_div(probabilities.rows, kRowThreads / 32), kRowThreads, 0, context.stream)
  (probabilities, grad_probabilities, ExcludedPairs(inputs), scratch.row_sums);
  backward(context, inputs, gradients, scratch, [&] {
    return ProbabilitiesGradient{scratch.rows.view(),      inputs.scale.data,        probabilities,
                                 grad_probabilities,       ExcludedPairs(inputs),    scratch.row_sums,
                                 scratch.gradients.view(), scratch.scale_sums.data()};
  });
}

}  // namespace duet::cuda
