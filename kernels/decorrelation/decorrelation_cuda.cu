// A block owns a run of columns in sums (kernels/cuda/column_sums.h), a thread four neighbouring elements elsewhere.
// Bytes: forward reads each side three times and writes it once; backward reads it four times more and writes it twice.
// Products: R = A^T V / n forward, the same and one for each gradient backward (kernels/cuda/dense.h).
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/dense.h"
#include "kernels/cuda/rows.h"
#include "kernels/decorrelation/decorrelation_backends.h"
#include "kernels/decorrelation/decorrelation_formula.h"
#include "kernels/decorrelation/decorrelation_small_cuda.h"

namespace duet::cuda {
namespace {

using Operand = DenseProduct::Operand;

struct Side {
  Matrix<float> standardised;  // n x d
  double *mean, *deviation;    // d
};

struct Scratch {
  ColumnRuns cut;
  Side a, v;
  Matrix<float> correlation;  // d x d: R, then M
  Matrix<float> gradient;     // n x d, of a's or of v's standardised rows
  double *mean, *along;       // d, of the gradient
  double* row_loss;           // sums of R's rows, or of the small form's tiles
  double* partials;           // of column sums
  char* dense;

  Scratch(Workspace& workspace, int64_t n, int64_t d)
      : cut(n, d),
        a(side(workspace, n, d)),
        v(side(workspace, n, d)),
        correlation(workspace.take_matrix<float>(d, d)),
        gradient(workspace.take_matrix<float>(n, d)),
        mean(workspace.take<double>(d)),
        along(workspace.take<double>(d)),
        row_loss(workspace.take<double>(std::max(d, decorrelation_small_partials(d)))),
        partials(workspace.take<double>(cut.partials(2))),
        dense(workspace.take<char>(static_cast<int64_t>(dense_workspace()))) {}

 private:
  static Side side(Workspace& workspace, int64_t n, int64_t d) {
    const auto standardised = workspace.take_matrix<float>(n, d);
    double* const mean = workspace.take<double>(d);
    return {standardised, mean, workspace.take<double>(d)};
  }
};

struct Value {
  Matrix<const float> x;

  __device__ ColumnTerms<1> operator()(int64_t i, int64_t j) const { return {{double{x.row(i)[j]}}}; }
};
struct SquaredDeviation {
  Matrix<const float> x;
  const double* mean;

  __device__ ColumnTerms<1> operator()(int64_t i, int64_t j) const {
    const double centred = x.row(i)[j] - mean[j];
    return {{centred * centred}};
  }
};
struct KeepMean {
  double n;
  double* mean;

  __device__ void operator()(int64_t j, const ColumnTerms<1>& sums) const { mean[j] = sums.at[0] / n; }
};
struct KeepDeviation {
  double n, eps;
  double* deviation;

  __device__ void operator()(int64_t j, const ColumnTerms<1>& sums) const {
    deviation[j] = column_deviation(sums.at[0], n, eps);
  }
};

struct Standardise {
  Matrix<const float> x;
  Side to;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    Pack<kWidth> value = load<kWidth>(x.row(i) + j);
    DUET_UNROLL
    for (int k = 0; k < kWidth; ++k) value.at[k] = standardised(value.at[k], to.mean[j + k], to.deviation[j + k]);
    store(to.standardised.row(i) + j, value);
  }
};

void standardise(const duet_context& context, const Scratch& scratch, Matrix<const float> x, double eps,
                 const Side& to) {
  const double n = static_cast<double>(x.rows);
  column_sums<1>(context, scratch.cut, Value{x}, KeepMean{n, to.mean}, scratch.partials);
  column_sums<1>(context, scratch.cut, SquaredDeviation{x, to.mean}, KeepDeviation{n, eps, to.deviation},
                 scratch.partials);
  for_each_element(context, x.rows, x.columns, false, aligned(x) && aligned(Matrix<const float>(to.standardised)),
                   Standardise{x, to});
}

// Writes both standardised sides and R to scratch.
void correlate(const duet_context& context, Matrix<const float> a, Matrix<const float> v, double eps,
               const Scratch& scratch) {
  standardise(context, scratch, a, eps, scratch.a);
  standardise(context, scratch, v, eps, scratch.v);
  const float share = static_cast<float>(1.0 / static_cast<double>(a.rows));
  dense_product(context,
                {share,
                 scratch.a.standardised,
                 Operand::transposed,
                 scratch.v.standardised,
                 Operand::as_it_is,
                 0,
                 scratch.correlation,
                 {}},
                scratch.dense);
}

struct RowLoss {
  Matrix<const float> correlation;
  double* row_loss;

  template <class Team, int kWidth>
  __device__ void run(int64_t k) const {
    const float* const row = correlation.row(k);
    const double sum = Team::template sum_over<1>(correlation.columns,
                                                  [=](int64_t l) { return l == k ? 0 : double{row[l]} * row[l]; });
    if (Team::thread() == 0) row_loss[k] = sum;
  }
};

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    loss_kernel(const double* row_loss, int64_t parts, double pairs, float* loss) {
  double sum = 0;
  for (int64_t k = threadIdx.x; k < parts; k += kThreads) sum += row_loss[k];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss = parts > 0 ? static_cast<float>(sum / pairs) : 0;
}

struct OfCorrelation {
  double share;  // 2 / (d (d - 1) n)
  const float* grad_loss;
  Matrix<float> correlation;

  template <int kWidth>
  __device__ void at(int64_t k, int64_t l) const {
    const double factor = share * *grad_loss;
    for (int e = 0; e < kWidth; ++e) {
      float& r = correlation.row(k)[l + e];
      r = k == l + e ? 0 : static_cast<float>(factor * r);
    }
  }
};

struct GradientTerms {
  Matrix<const float> gradient, standardised;

  __device__ ColumnTerms<2> operator()(int64_t i, int64_t j) const {
    const double g = gradient.row(i)[j];
    return {{g, g * standardised.row(i)[j]}};
  }
};
struct KeepMeans {
  double n;
  double *mean, *along;

  __device__ void operator()(int64_t j, const ColumnTerms<2>& sums) const {
    mean[j] = sums.at[0] / n;
    along[j] = sums.at[1] / n;
  }
};

struct AddGradient {
  Matrix<const float> gradient, standardised;
  const double *mean, *along, *deviation;
  Matrix<float> grad;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    const Pack<kWidth> g = load<kWidth>(gradient.row(i) + j), x = load<kWidth>(standardised.row(i) + j);
    Pack<kWidth> sum = load<kWidth>(grad.row(i) + j);
    DUET_UNROLL
    for (int k = 0; k < kWidth; ++k)
      sum.at[k] += through_standardisation(g.at[k], x.at[k], mean[j + k], along[j + k], deviation[j + k]);
    store(grad.row(i) + j, sum);
  }
};

// Adds the gradient by the columns, computed from scratch's gradient by the standardised columns.
void add_through_standardisation(const duet_context& context, const Scratch& scratch, const Side& side,
                                 Matrix<float> grad) {
  const Matrix<const float> gradient = scratch.gradient, standardised = side.standardised;
  const double n = static_cast<double>(gradient.rows);
  column_sums<2>(context, scratch.cut, GradientTerms{gradient, standardised}, KeepMeans{n, scratch.mean, scratch.along},
                 scratch.partials);
  for_each_element(context, grad.rows, grad.columns, false, aligned(gradient) && aligned(standardised) && aligned(grad),
                   AddGradient{gradient, standardised, scratch.mean, scratch.along, side.deviation, grad});
}

}  // namespace

size_t decorrelation_workspace(int64_t n, int64_t d) {
  Workspace measure;
  Scratch(measure, n, d);
  return measure.used();
}

void decorrelation_forward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, float eps,
                           Vector<float> loss, Workspace workspace) {
  const int64_t d = a.columns;
  const bool empty = a.rows == 0 || d <= 1;
  const Scratch scratch(workspace, a.rows, d);
  int64_t parts = 0;  // of the loss
  if (!empty && decorrelation_is_small(context, a.rows, d)) {
    decorrelation_small_forward(context, a, v, eps, scratch.row_loss);
    parts = decorrelation_small_partials(d);
  } else if (!empty) {
    correlate(context, a, v, eps, scratch);
    for_each_row(context, d, d, false, RowLoss{scratch.correlation, scratch.row_loss});
    parts = d;
  }
  DUET_LAUNCH(loss_kernel, 1, kThreads, 0, context.stream)(scratch.row_loss, parts, pairs_of_columns(d), loss.data);
}

void decorrelation_backward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, float eps,
                            Vector<const float> grad_loss, Matrix<float> grad_a, Matrix<float> grad_v,
                            Workspace workspace) {
  const int64_t n = a.rows, d = a.columns;
  if (n == 0 || d <= 1 || (!grad_a && !grad_v)) return;
  if (decorrelation_is_small(context, n, d))
    return decorrelation_small_backward(context, a, v, eps, grad_loss.data, grad_a, grad_v);
  const Scratch scratch(workspace, n, d);
  correlate(context, a, v, eps, scratch);
  const double share = 2.0 / (pairs_of_columns(d) * static_cast<double>(n));
  for_each_element(context, d, d, false, aligned(scratch.correlation),
                   OfCorrelation{share, grad_loss.data, scratch.correlation});
  const auto multiply = [&](const Side& side, Operand is) {
    dense_product(context, {1, side.standardised, Operand::as_it_is, scratch.correlation, is, 0, scratch.gradient, {}},
                  scratch.dense);
  };
  if (grad_a) {
    multiply(scratch.v, Operand::transposed);
    add_through_standardisation(context, scratch, scratch.a, grad_a);
  }
  if (grad_v) {
    multiply(scratch.a, Operand::as_it_is);
    add_through_standardisation(context, scratch, scratch.v, grad_v);
  }
}

}  // namespace duet::cuda
