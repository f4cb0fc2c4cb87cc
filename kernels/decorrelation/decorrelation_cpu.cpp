// Both sides are standardised into scratch, and R = A^T V / n is computed in tiles. Backward turns R into M = dL/dR /
// n, then goes back through two products and the standardisation. Sums over the batch are float64, in the order of the
// rows.
#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/decorrelation/decorrelation_backends.h"
#include "kernels/decorrelation/decorrelation_formula.h"

namespace duet::cpu {
namespace {

constexpr int64_t kColumns = 32;       // columns of a work item where rows are summed: two cache lines
constexpr int64_t kCorrelations = 32;  // rows of R of a work item: d = 64 gives each of two threads one
constexpr int64_t kGradients = 64;     // rows of a gradient of a work item

struct Scratch {
  Matrix<float> a, v;         // n x d, standardised
  Matrix<float> correlation;  // d x d: R, then M
  Matrix<float> gradient;     // n x d, of a's or of v's standardised rows
  float* packed;              // an operand of a product: v, or M
  Vector<double> deviation_a, deviation_v, row_loss;

  Scratch(Workspace& workspace, int64_t n, int64_t d)
      : a(workspace.take_matrix<float>(n, d)),
        v(workspace.take_matrix<float>(n, d)),
        correlation(workspace.take_matrix<float>(d, d)),
        gradient(workspace.take_matrix<float>(n, d)),
        packed(workspace.take<float>(std::max(packed_columns_size(n, d), packed_size(d, d)))),
        deviation_a{workspace.take<double>(d), d},
        deviation_v{workspace.take<double>(d), d},
        row_loss{workspace.take<double>(d), d} {}
};

void standardise(const duet_context& context, Matrix<const float> x, double eps, Matrix<float> out,
                 Vector<double> deviation) {
  const double n = static_cast<double>(x.rows);
  parallel_chunks(context, x.columns, kColumns, [&](int64_t first, int64_t count, int) {
    double mean[kColumns] = {}, square[kColumns] = {};
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t k = 0; k < count; ++k) mean[k] += x.row(i)[first + k];
    for (int64_t k = 0; k < count; ++k) mean[k] /= n;
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t k = 0; k < count; ++k)
        square[k] += (x.row(i)[first + k] - mean[k]) * (x.row(i)[first + k] - mean[k]);
    for (int64_t k = 0; k < count; ++k) deviation[first + k] = column_deviation(square[k], n, eps);
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t k = 0; k < count; ++k)
        out.row(i)[first + k] = standardised(x.row(i)[first + k], mean[k], deviation[first + k]);
  });
}

// Writes both standardised sides and R to scratch.
void correlate(const duet_context& context, Matrix<const float> a, Matrix<const float> v, double eps,
               const Scratch& scratch) {
  standardise(context, a, eps, scratch.a, scratch.deviation_a);
  standardise(context, v, eps, scratch.v, scratch.deviation_v);
  const float share = static_cast<float>(1.0 / static_cast<double>(a.rows));
  const PackedColumns packed = pack_columns(context, scratch.v, scratch.packed, share);
  parallel_chunks(context, a.columns, kCorrelations, [&](int64_t first, int64_t count, int) {
    const auto part = scratch.correlation.part(first, 0, count, a.columns);
    std::fill_n(part.data, count * a.columns, 0.0f);
    add_product_tn(scratch.a.part(0, first, a.rows, count), packed, 0, part);
  });
}

// Adds the gradient by the columns, computed from scratch's gradient by the standardised columns.
void add_through_standardisation(const duet_context& context, Matrix<const float> gradient, Matrix<const float> x,
                                 Vector<const double> deviation, Matrix<float> grad) {
  const double n = static_cast<double>(x.rows);
  parallel_chunks(context, x.columns, kColumns, [&](int64_t first, int64_t count, int) {
    double mean[kColumns] = {}, along[kColumns] = {};
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t k = 0; k < count; ++k) {
        const double g = gradient.row(i)[first + k];
        mean[k] += g;
        along[k] += g * x.row(i)[first + k];
      }
    for (int64_t k = 0; k < count; ++k) mean[k] /= n, along[k] /= n;
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t k = 0; k < count; ++k)
        grad.row(i)[first + k] += through_standardisation(gradient.row(i)[first + k], x.row(i)[first + k], mean[k],
                                                          along[k], deviation[first + k]);
  });
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
  if (a.rows == 0 || d <= 1) {
    loss[0] = 0;
    return;
  }
  const Scratch scratch(workspace, a.rows, d);
  correlate(context, a, v, eps, scratch);
  parallel_for(context, d, [&](int64_t k, int) {
    double sum = 0;
    for (int64_t l = 0; l < d; ++l) {
      const double r = scratch.correlation.row(k)[l];
      if (l != k) sum += r * r;
    }
    scratch.row_loss[k] = sum;
  });
  double sum = 0;
  for (int64_t k = 0; k < d; ++k) sum += scratch.row_loss[k];
  loss[0] = static_cast<float>(sum / pairs_of_columns(d));
}

void decorrelation_backward(const duet_context& context, Matrix<const float> a, Matrix<const float> v, float eps,
                            Vector<const float> grad_loss, Matrix<float> grad_a, Matrix<float> grad_v,
                            Workspace workspace) {
  const int64_t n = a.rows, d = a.columns;
  if (n == 0 || d <= 1 || (!grad_a && !grad_v)) return;
  const Scratch scratch(workspace, n, d);
  correlate(context, a, v, eps, scratch);
  const double factor = 2.0 * grad_loss[0] / (pairs_of_columns(d) * static_cast<double>(n));
  parallel_for(context, d, [&](int64_t k, int) {
    float* row = scratch.correlation.row(k);
    for (int64_t l = 0; l < d; ++l) row[l] = l == k ? 0 : static_cast<float>(factor * row[l]);
  });
  if (grad_a) {
    const PackedRows packed = pack_rows(context, scratch.correlation, scratch.packed);
    parallel_chunks(context, n, kGradients, [&](int64_t first, int64_t count, int) {
      tile_product(scratch.v.part(first, 0, count, d), packed, 0, scratch.gradient.part(first, 0, count, d));
    });
    add_through_standardisation(context, scratch.gradient, scratch.a, scratch.deviation_a, grad_a);
  }
  if (grad_v) {
    const PackedColumns packed = pack_columns(context, scratch.correlation, scratch.packed);
    parallel_chunks(context, n, kGradients, [&](int64_t first, int64_t count, int) {
      const auto part = scratch.gradient.part(first, 0, count, d);
      std::fill_n(part.data, count * d, 0.0f);
      add_product_nn(scratch.a.part(first, 0, count, d), packed, 0, part);
    });
    add_through_standardisation(context, scratch.gradient, scratch.v, scratch.deviation_v, grad_v);
  }
}

}  // namespace duet::cpu
