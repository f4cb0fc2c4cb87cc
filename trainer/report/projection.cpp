#include "trainer/report/projection.h"

#include <algorithm>
#include <random>

// Its products would otherwise take threads where a compiler's flags turn OpenMP on.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Eigenvalues>
#include <Eigen/QR>

namespace duet::report {

// Subspace iteration: no matrix of width x width, whatever the width. With eight directions the part of the ninth that
// is left in the first two after 30 rounds is (their variances' ratio)^30, which a plot does not show.
Projection principal_plane(const data::Features& rows) {
  using Matrix = Eigen::MatrixXf;
  constexpr Eigen::Index kDirections = 8;
  constexpr int kRounds = 30;
  Projection out;
  out.points.resize(static_cast<size_t>(rows.rows), {0, 0});
  const Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> x(
      rows.values.data(), rows.rows, rows.columns);
  if (rows.rows < 2 || rows.columns < 1) return out;
  const Eigen::RowVectorXf mean = x.colwise().mean();
  const Matrix centred = x.rowwise() - mean;
  const double variance = centred.cast<double>().squaredNorm();
  if (!(variance > 0)) return out;

  const Eigen::Index count = std::min<Eigen::Index>(kDirections, rows.columns);
  std::mt19937 words(1);
  Matrix basis(rows.columns, count);
  for (Eigen::Index j = 0; j < count; ++j)
    for (Eigen::Index i = 0; i < rows.columns; ++i) basis(i, j) = static_cast<float>(words() >> 8) * 0x1p-24f - 0.5f;
  for (int round = 0; round < kRounds; ++round) {
    const Matrix next = centred.transpose() * (centred * basis);
    basis = Eigen::HouseholderQR<Matrix>(next).householderQ() * Matrix::Identity(rows.columns, count);
  }
  const Eigen::MatrixXd within = (centred * basis).cast<double>();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(within.transpose() * within);
  for (Eigen::Index axis = 0; axis < std::min<Eigen::Index>(2, count); ++axis) {
    const Eigen::Index last = count - 1 - axis;  // eigenvalues ascend
    Eigen::VectorXd direction = solver.eigenvectors().col(last);
    const Eigen::VectorXd weights = basis.cast<double>() * direction;
    Eigen::Index largest = 0;
    weights.cwiseAbs().maxCoeff(&largest);
    if (weights(largest) < 0) direction = -direction;
    const Eigen::VectorXd along = within * direction;
    const auto place = static_cast<size_t>(axis);
    out.share[place] = std::clamp(solver.eigenvalues()(last) / variance, 0.0, 1.0);
    for (Eigen::Index i = 0; i < along.size(); ++i)
      out.points[static_cast<size_t>(i)][place] = static_cast<float>(along(i));
  }
  return out;
}

}  // namespace duet::report
