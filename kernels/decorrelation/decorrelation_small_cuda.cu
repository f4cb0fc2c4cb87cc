// A block owns 16 x 16 correlations forward, 16 columns of one gradient backward (16 elements a thread).
// Bytes: a block reads the columns that it needs and standardises them in shared memory; only results are stored.
// Products in float32: 16 x 16 correlations at a time; backward multiplies them by the other side once more.
#include "kernels/core/ceil_div.h"
#include "kernels/cuda/warp.h"
#include "kernels/decorrelation/decorrelation_formula.h"
#include "kernels/decorrelation/decorrelation_small_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256, kColumns = 16, kRowLanes = kThreads / kColumns;
constexpr int kMostRows = 256, kEach = kMostRows / kRowLanes;  // rows of a side, and of a thread
constexpr int64_t kMostColumns = 256;                          // PLAN.md says why

// Thread (row, column) processes every 16th row of its column.
__device__ int row_lane() { return static_cast<int>(threadIdx.x) / kColumns; }
__device__ int column_lane() { return static_cast<int>(threadIdx.x) % kColumns; }

// The sum over the threads of a column, in the order of their rows. All threads of the block call. sums: scratch,
// kRowLanes x kColumns.
__device__ double column_sum(double value, double (*sums)[kColumns]) {
  sums[row_lane()][column_lane()] = value;
  __syncthreads();
  double sum = 0;
  for (int r = 0; r < kRowLanes; ++r) sum += sums[r][column_lane()];
  __syncthreads();
  return sum;
}

// Writes the standardised columns of x from `first` on to `to` (n x kColumns), 0 past the last column. Returns the
// deviation of the thread's column. All threads of the block call. Ends with a barrier.
__device__ double standardise(Matrix<const float> x, int64_t first, double eps, float (*to)[kColumns],
                              double (*sums)[kColumns]) {
  const int n = static_cast<int>(x.rows), c = column_lane();
  const bool inside = first + c < x.columns;
  double sum = 0, square = 0;
  for (int i = row_lane(); i < n; i += kRowLanes) {
    to[i][c] = inside ? x.row(i)[first + c] : 0;
    sum += to[i][c];
  }
  const double mean = column_sum(sum, sums) / n;
  for (int i = row_lane(); i < n; i += kRowLanes) {
    const double centred = to[i][c] - mean;
    square += centred * centred;
  }
  const double deviation = column_deviation(column_sum(square, sums), n, eps);
  for (int i = row_lane(); i < n; i += kRowLanes) to[i][c] = standardised(to[i][c], mean, deviation);
  __syncthreads();
  return deviation;
}

// R of column row_lane() of one side and column_lane() of the other.
__device__ float correlation(const float (*one)[kColumns], const float (*other)[kColumns], int n) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum = fmaf(one[i][row_lane()], other[i][column_lane()], sum);
  return sum * static_cast<float>(1.0 / n);
}

__global__ void __launch_bounds__(kThreads)
    small_correlation_kernel(Matrix<const float> a, Matrix<const float> v, double eps, double* partials) {
  DUET_SHARED(float, of_a, [kMostRows][kColumns]);
  DUET_SHARED(float, of_v, [kMostRows][kColumns]);
  DUET_SHARED(double, sums, [kRowLanes][kColumns]);
  const int64_t d = a.columns;
  const unsigned across = static_cast<unsigned>(ceil_div(d, kColumns));
  const int64_t first_a = int64_t{blockIdx.x / across} * kColumns, first_v = int64_t{blockIdx.x % across} * kColumns;
  standardise(a, first_a, eps, of_a, sums);
  standardise(v, first_v, eps, of_v, sums);
  const int64_t k = first_a + row_lane(), l = first_v + column_lane();
  const double r = correlation(of_a, of_v, static_cast<int>(a.rows));
  const double sum = block_sum(k < d && l < d && k != l ? r * r : 0);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// The first blocks own columns of a, the others columns of v. share: 2 / (d (d - 1) n).
__global__ void __launch_bounds__(kThreads)
    small_decorrelation_gradient_kernel(Matrix<const float> a, Matrix<const float> v, double eps, double share,
                                        const float* grad_loss, Matrix<float> grad_a, Matrix<float> grad_v) {
  DUET_SHARED(float, own, [kMostRows][kColumns]);
  DUET_SHARED(float, other, [kMostRows][kColumns]);
  DUET_SHARED(double, sums, [kRowLanes][kColumns]);
  DUET_SHARED(float, factors, [kColumns][kColumns + 1]);  // dL/dR / n of the block's columns and the other side's
  const int n = static_cast<int>(a.rows);
  const int64_t d = a.columns;
  const unsigned across = static_cast<unsigned>(ceil_div(d, kColumns));
  const bool is_a = grad_a && blockIdx.x < across;
  const int64_t first = int64_t{blockIdx.x % across} * kColumns;
  const Matrix<float> grad = is_a ? grad_a : grad_v;
  const double deviation = standardise(is_a ? a : v, first, eps, own, sums), factor = share * *grad_loss;
  float g[kEach] = {};
  for (int64_t from = 0; from < d; from += kColumns) {
    standardise(is_a ? v : a, from, eps, other, sums);
    const int64_t k = first + row_lane(), l = from + column_lane();
    const float r = correlation(own, other, n);
    factors[row_lane()][column_lane()] = k < d && l < d && k != l ? static_cast<float>(factor * r) : 0;
    __syncthreads();
    DUET_UNROLL
    for (int e = 0; e < kEach; ++e) {
      const int i = row_lane() + e * kRowLanes;
      for (int c = 0; c < kColumns && i < n; ++c) g[e] = fmaf(other[i][c], factors[column_lane()][c], g[e]);
    }
    __syncthreads();
  }
  double sum = 0, product = 0;
  DUET_UNROLL
  for (int e = 0; e < kEach; ++e) {
    const int i = row_lane() + e * kRowLanes;
    if (i >= n) continue;
    sum += g[e];
    product += static_cast<double>(g[e]) * own[i][column_lane()];
  }
  const double mean = column_sum(sum, sums) / n, along = column_sum(product, sums) / n;
  DUET_UNROLL
  for (int e = 0; e < kEach; ++e) {
    const int i = row_lane() + e * kRowLanes;
    if (i < n && first + column_lane() < d)
      grad.row(i)[first + column_lane()] +=
          through_standardisation(g[e], own[i][column_lane()], mean, along, deviation);
  }
}

int64_t blocks_of_columns(int64_t d) { return ceil_div(d, kColumns); }

}  // namespace

bool decorrelation_is_small(const duet_context& context, int64_t n, int64_t d) {
  return n <= context.small_rows && n <= kMostRows && d <= kMostColumns;
}

int64_t decorrelation_small_partials(int64_t d) {
  return d <= kMostColumns ? blocks_of_columns(d) * blocks_of_columns(d) : 0;
}

void decorrelation_small_forward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, double eps,
                                 double* partials) {
  DUET_LAUNCH(small_correlation_kernel, decorrelation_small_partials(a.columns), kThreads, 0, context.stream)
  (a, v, eps, partials);
}

void decorrelation_small_backward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, double eps,
                                  const float* grad_loss, Matrix<float> grad_a, Matrix<float> grad_v) {
  const int64_t d = a.columns, sides = (grad_a ? 1 : 0) + (grad_v ? 1 : 0);
  const double share = 2.0 / (pairs_of_columns(d) * static_cast<double>(a.rows));
  DUET_LAUNCH(small_decorrelation_gradient_kernel, sides * blocks_of_columns(d), kThreads, 0, context.stream)
  (a, v, eps, share, grad_loss, grad_a, grad_v);
}

}  // namespace duet::cuda
