#include "trainer/cca.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

// Its products would otherwise take threads where a compiler's flags turn OpenMP on.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>

#include "kernels/core/error.h"
#include "kernels/core/norm.h"
#include "kernels/core/philox.h"

namespace duet {
namespace {

using Eigen::Index;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

constexpr Index kBlockRows = 512;
// Of the block Krylov space: its error falls exponentially in the passes, without a gap between singular values (Musco
// and Musco, NeurIPS 2015), and directions beyond those wanted speed it up.
constexpr Index kPasses = 6, kMoreDirections = 16;
constexpr uint32_t kStreamStart = 11;  // METHOD.md 0
// A sum of products of numbers of size 1 is wrong by some roundings; what correlates less is rounding.
constexpr double kRoundings = 32;
// Singular values are roots of eigenvalues, which are wrong by roundings of the largest.
constexpr double kLeastCorrelation = 1e-7;

// The rows that take part, with weights that sum to 1, and their classes (cluster-CCA), from 0 on without a gap.
struct Rows {
  std::vector<int64_t> numbers;
  Vector weights;
  std::vector<Index> classes;
  Index class_count = 0;
  double pairs = 0;  // M

  Index count() const { return std::ssize(numbers); }
};

Rows own_pairs(int64_t rows) {
  require(rows >= 2, "expected at least two pairs, got ", rows);
  Rows out;
  for (int64_t i = 0; i < rows; ++i) out.numbers.push_back(i);
  out.weights = Vector::Constant(rows, 1 / static_cast<double>(rows));
  out.pairs = static_cast<double>(rows);
  return out;
}

Rows class_pairs(std::span<const int32_t> labels) {
  std::map<int32_t, std::pair<Index, double>> classes;  // its number, its rows
  for (const int32_t label : labels)
    if (label >= 0) ++classes[label].second;
  require(classes.size() >= 2, "expected labelled rows of at least two classes, got ", classes.size());
  Rows out;
  for (auto& [label, facts] : classes) {
    facts.first = out.class_count++;
    out.pairs += facts.second * facts.second;
  }
  std::vector<double> weights;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    const auto& [number, rows] = classes[labels[i]];
    out.numbers.push_back(static_cast<int64_t>(i));
    out.classes.push_back(number);
    weights.push_back(rows / out.pairs);
  }
  out.weights = Eigen::Map<const Vector>(weights.data(), std::ssize(weights));
  return out;
}

// Rows less the mean as columns, where Eigen has them one after another.
template <class RowOf>
Matrix centred(const data::Features& features, const Vector& mean, Index count, RowOf row_of) {
  Matrix out(features.columns, count);
  for (Index i = 0; i < count; ++i)
    out.col(i) = Eigen::Map<const Eigen::VectorXf>(features.row(row_of(i)), features.columns).cast<double>() - mean;
  return out;
}

// One side: its rows in coordinates of the space that they span, which are its columns or, where there are more of
// those than rows, fewer.
class View {
 public:
  View(const data::Features& features, const Rows& rows, double ridge)
      : features_(features), rows_(rows), mean_(Vector::Zero(features.columns)) {
    const Index columns = features.columns, count = rows.count();
    require(std::min(columns, count) <= kWidestCca, "expected at most ", kWidestCca, " columns or rows, got ", columns,
            " columns of ", count, " rows");
    for (Index i = 0; i < count; ++i)
      mean_ += rows.weights[i] * Eigen::Map<const Eigen::VectorXf>(row(i), columns).cast<double>();
    if (columns > count) {
      const Eigen::HouseholderQR<Matrix> factors(centred_rows(0, count));
      basis_ = factors.householderQ() * Matrix::Identity(columns, count);
    }
    factor(ridge);
  }

  Index width() const { return basis_.size() > 0 ? basis_.cols() : features_.columns; }
  Matrix block(Index first, Index count) const {
    Matrix rows = centred_rows(first, count);
    if (basis_.size() > 0) rows = (basis_.transpose() * rows).eval();
    return rows;
  }
  // L of the regularised covariance L L^T.
  const Eigen::LLT<Matrix>& root() const { return root_; }
  // The root of the mean square of a row, over the least pivot: how far roundings grow.
  double condition() const { return condition_; }
  const Vector& mean() const { return mean_; }
  // In the columns' coordinates.
  Matrix directions(Matrix whitened) const {
    root_.matrixU().solveInPlace(whitened);
    if (basis_.size() > 0) whitened = (basis_ * whitened).eval();
    return whitened;
  }

 private:
  const float* row(Index i) const { return features_.row(rows_.numbers[static_cast<size_t>(i)]); }
  Matrix centred_rows(Index first, Index count) const {
    return centred(features_, mean_, count, [&](Index i) { return rows_.numbers[static_cast<size_t>(first + i)]; });
  }
  void factor(double ridge) {
    Matrix covariance = Matrix::Zero(width(), width());
    for (Index first = 0; first < rows_.count(); first += kBlockRows) {
      const Index count = std::min(kBlockRows, rows_.count() - first);
      const Matrix weighed = block(first, count) * rows_.weights.segment(first, count).cwiseSqrt().asDiagonal();
      covariance.selfadjointView<Eigen::Lower>().rankUpdate(weighed);
    }
    const double variance = covariance.trace() / static_cast<double>(features_.columns);
    const double rounding = kRoundings * std::numeric_limits<double>::epsilon();  // of the mean
    require(variance > rounding * rounding * mean_.squaredNorm() / static_cast<double>(features_.columns),
            "expected rows that differ, got ", rows_.count(), " equal ones");
    covariance.diagonal().array() += ridge * variance;
    const double square = covariance.trace();
    root_.compute(covariance);
    require(root_.info() == Eigen::Success, "the covariance is not positive: expected a larger ridge than ", ridge);
    condition_ = std::sqrt(square) / root_.matrixLLT().diagonal().minCoeff();
  }

  const data::Features& features_;
  const Rows& rows_;
  Vector mean_;
  Matrix basis_;  // columns x rows, orthonormal; empty: the columns themselves
  Eigen::LLT<Matrix> root_;
  double condition_ = 0;
};

Matrix cross_covariance(const View& a, const View& v, const Rows& rows) {
  const bool clusters = rows.class_count > 0;
  Matrix sum = Matrix::Zero(a.width(), v.width());
  Matrix sums_a = Matrix::Zero(a.width(), rows.class_count), sums_v = Matrix::Zero(v.width(), rows.class_count);
  for (Index first = 0; first < rows.count(); first += kBlockRows) {
    const Index count = std::min(kBlockRows, rows.count() - first);
    const Matrix block_a = a.block(first, count), block_v = v.block(first, count);
    if (!clusters) sum.noalias() += block_a * block_v.transpose();
    for (Index i = 0; clusters && i < count; ++i) {
      const Index number = rows.classes[static_cast<size_t>(first + i)];
      sums_a.col(number) += block_a.col(i);
      sums_v.col(number) += block_v.col(i);
    }
  }
  if (clusters) sum.noalias() = sums_a * sums_v.transpose();
  return sum / rows.pairs;
}

Matrix orthonormal(const Matrix& columns) {
  const Eigen::HouseholderQR<Matrix> factors(columns);
  return factors.householderQ() * Matrix::Identity(columns.rows(), columns.cols());
}

// An orthonormal basis of a space that holds the matrix's first singular directions on the left.
Matrix krylov_space(const Matrix& matrix, Index width) {
  Matrix block(matrix.rows(), width), space(matrix.rows(), kPasses * width);
  for (Index i = 0; i < block.size(); ++i)
    block.data()[i] = uniform(random_word(0, kStreamStart, 0, static_cast<uint64_t>(i))) - 0.5;
  for (Index pass = 0; pass < kPasses; ++pass) {
    block = orthonormal(matrix * (matrix.transpose() * block));
    space.middleCols(pass * width, width) = block;
  }
  return orthonormal(space);
}

struct Singular {
  Matrix left, right;  // a direction a column
  Vector values;       // descending
};

// The first of a matrix that is no higher than wide: at most most, and those above least.
Singular singular_of_wide(const Matrix& matrix, Index most, double least, Index widest_exact) {
  const Index block = std::min(most, matrix.rows()) + kMoreDirections;
  const bool exact = matrix.rows() <= widest_exact || kPasses * block >= matrix.rows();
  const Matrix space = exact ? Matrix() : krylov_space(matrix, block);
  const Matrix inside = exact ? matrix : Matrix(space.transpose() * matrix);
  Matrix square = Matrix::Zero(inside.rows(), inside.rows());
  square.selfadjointView<Eigen::Lower>().rankUpdate(inside);
  const Eigen::SelfAdjointEigenSolver<Matrix> solved(square);
  require(solved.info() == Eigen::Success, "the eigenvalues do not converge");
  const Vector values = solved.eigenvalues().cwiseMax(0).cwiseSqrt().reverse();
  Index count = 0;
  while (count < std::min(most, values.size()) && values[count] > least) ++count;
  const Matrix left = solved.eigenvectors().rowwise().reverse().leftCols(count);
  Singular out{exact ? left : Matrix(space * left), inside.transpose() * left, values.head(count)};
  out.right *= out.values.cwiseInverse().asDiagonal();
  return out;
}

std::vector<double> numbers(const Matrix& matrix) { return {matrix.data(), matrix.data() + matrix.size()}; }

}  // namespace

Cca::Cca(const data::Features& a, const data::Features& v, std::span<const int32_t> labels, const CcaOptions& options) {
  require(a.rows == v.rows && a.rows == std::ssize(labels), "expected as many rows as labels, ", labels.size(),
          ", got ", a.rows, " and ", v.rows);
  require(options.dim >= 1, "expected at least one direction, got ", options.dim);
  require(options.ridge >= kLeastRidge, "expected a ridge of at least ", kLeastRidge, ", got ", options.ridge);
  const Rows rows = options.clusters ? class_pairs(labels) : own_pairs(a.rows);
  const View view_a(a, rows, options.ridge), view_v(v, rows, options.ridge);
  Matrix whitened = cross_covariance(view_a, view_v, rows);
  view_a.root().matrixL().solveInPlace(whitened);
  view_v.root().matrixU().solveInPlace<Eigen::OnTheRight>(whitened);
  const double least = std::max(
      kLeastCorrelation, kRoundings * std::numeric_limits<double>::epsilon() * view_a.condition() * view_v.condition());
  const bool high = whitened.rows() > whitened.cols();
  if (high) whitened = whitened.transpose().eval();
  Singular found = singular_of_wide(whitened, options.dim, least, options.widest_exact);
  if (high) std::swap(found.left, found.right);
  require(found.values.size() > 0, "no direction of the two sides correlates");
  sides_ = {Side{numbers(view_a.mean()), numbers(view_a.directions(std::move(found.left)))},
            Side{numbers(view_v.mean()), numbers(view_v.directions(std::move(found.right)))}};
  for (const double value : found.values) correlations_.push_back(std::min(value, 1.0));
}

data::Features Cca::embed(int side, const data::Features& features) const {
  const Side& own = sides_[static_cast<size_t>(side)];
  const Index columns = std::ssize(own.mean);
  require(features.columns == columns, "expected ", columns, " columns, got ", features.columns);
  const Eigen::Map<const Vector> mean(own.mean.data(), columns);
  const Eigen::Map<const Matrix> directions(own.directions.data(), columns, dim());
  data::Features out(features.rows, dim());
  for (Index first = 0; first < features.rows; first += kBlockRows) {
    const Index count = std::min<Index>(kBlockRows, features.rows - first);
    const Matrix projected =
        directions.transpose() * centred(features, mean, count, [&](Index i) { return first + i; });
    for (Index i = 0; i < count; ++i)
      Eigen::Map<Eigen::VectorXf>(out.row(first + i), dim()) =
          (projected.col(i) * inverse_norm(projected.col(i).norm())).cast<float>();
  }
  return out;
}

}  // namespace duet
