#include "trainer/evidence.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

// Its products would otherwise take threads where a compiler's flags turn OpenMP on.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Cholesky>

#include "kernels/core/error.h"
#include "kernels/core/norm.h"

namespace duet {
namespace {

using Matrix = Eigen::MatrixXd;
using Rows = std::vector<int64_t>;

constexpr int64_t kMostRows = 256;
constexpr double kRidge = 0.3;
// Of an entry of H the error is at most n times the condition of K + 0.3 I times the rounding: 256 x 855 x 1.1e-16 =
// 2.4e-11 of its largest, 3.3, and the scores divide by H_ii >= 0.77 and sum.
constexpr double kEqualScores = 1e-9;
constexpr double kLeastGenerality = 0.001, kLeastHeight = 0.05;
constexpr double kWhole = 0.95, kNothing = 0.05;  // shares of a gradient that a note rounds to all and to none

// Of the rows that belong, N of them, at most 256: number k is the floor(k N / 256)th, or where N is smaller the kth.
template <class Belongs>
Rows spaced(int64_t rows, Belongs&& belongs) {
  int64_t count = 0, passed = 0;
  for (int64_t i = 0; i < rows; ++i) count += belongs(i);
  const int64_t most = std::min(count, kMostRows);
  Rows taken;
  for (int64_t i = 0; i < rows; ++i)
    if (belongs(i) && passed++ == static_cast<int64_t>(taken.size()) * count / std::max<int64_t>(most, 1))
      taken.push_back(i);
  return taken;
}

// Inner products of the unit rows. Columns come in blocks, so that no second copy of wide features is made.
Matrix gram(const data::Features& features, const Rows& rows) {
  constexpr int64_t kBlock = 256;
  const auto count = static_cast<Eigen::Index>(rows.size());
  std::vector<double> lengths;
  for (const int64_t row : rows) {
    double square = 0;
    for (int64_t k = 0; k < features.columns; ++k)
      square += static_cast<double>(features.row(row)[k]) * static_cast<double>(features.row(row)[k]);
    lengths.push_back(std::max(std::sqrt(square), kSmallestNorm));
  }
  Matrix product = Matrix::Zero(count, count), unit;
  for (int64_t first = 0; first < features.columns; first += kBlock) {
    const int64_t width = std::min(kBlock, features.columns - first);
    unit.resize(width, count);  // a row of the features is a column here, where columns lie one after another
    for (Eigen::Index i = 0; i < count; ++i) {
      const float* const values = features.row(rows[static_cast<size_t>(i)]) + first;
      for (int64_t k = 0; k < width; ++k) unit(k, i) = static_cast<double>(values[k]) / lengths[static_cast<size_t>(i)];
    }
    product.selfadjointView<Eigen::Lower>().rankUpdate(unit.transpose());
  }
  return product.selfadjointView<Eigen::Lower>();
}

struct Modality {
  Matrix kernel, weights;  // K and w: weights y is what is predicted at each row from the others
};

Modality leave_one_out(const data::Features& features, const Rows& rows) {
  Modality out{gram(features, rows), {}};
  const Eigen::Index count = out.kernel.rows();
  const Eigen::LLT<Matrix> factor(out.kernel + kRidge * Matrix::Identity(count, count));
  out.weights = factor.solve(Matrix::Identity(count, count));
  const Eigen::VectorXd own = out.weights.diagonal();
  out.weights = -(own.cwiseInverse().asDiagonal() * out.weights);
  out.weights.diagonal().setZero();
  return out;
}

// In halves, so that sums of it are exact: 2 where other scores below own, 1 where they are equal.
int64_t below(double other, double own) {
  if (std::abs(other - own) <= kEqualScores) return 1;
  return other < own ? 2 : 0;
}

// The classes of the rows taken, 0 to present - 1, ascending a row; the absent ones all score 0.
struct RowClasses {
  std::vector<std::vector<Eigen::Index>> of;
  Eigen::Index present = 0;
};

RowClasses row_classes(const Rows& rows, std::span<const int32_t> labels, const data::LabelSets& sets) {
  std::vector<std::vector<int32_t>> classes;
  std::vector<int32_t> present;
  for (const int64_t row : rows) {
    classes.push_back(data::classes_of(sets, labels[static_cast<size_t>(row)]));
    present.insert(present.end(), classes.back().begin(), classes.back().end());
  }
  std::sort(present.begin(), present.end());
  present.erase(std::unique(present.begin(), present.end()), present.end());
  RowClasses out{{}, std::ssize(present)};
  for (const std::vector<int32_t>& row : classes) {
    std::vector<Eigen::Index>& ids = out.of.emplace_back();
    for (const int32_t c : row) ids.push_back(std::lower_bound(present.begin(), present.end(), c) - present.begin());
  }
  return out;
}

// R of each row: the share of the other classes that score below its own, the mean over its own; half of a row that has
// every class.
std::vector<double> class_shares(const Matrix& weights, const RowClasses& rows, int64_t classes) {
  const Eigen::Index count = weights.rows();
  Matrix scores = Matrix::Zero(count, rows.present);
  for (Eigen::Index j = 0; j < count; ++j)
    for (const Eigen::Index c : rows.of[static_cast<size_t>(j)]) scores.col(c) += weights.col(j);
  std::vector<double> shares;
  for (Eigen::Index i = 0; i < count; ++i) {
    const std::vector<Eigen::Index>& own = rows.of[static_cast<size_t>(i)];
    const int64_t others = classes - std::ssize(own);
    int64_t halves = 0;
    for (const Eigen::Index of : own) {
      halves += (classes - rows.present) * below(0, scores(i, of));
      for (Eigen::Index c = 0; c < rows.present; ++c)
        if (!std::binary_search(own.begin(), own.end(), c)) halves += below(scores(i, c), scores(i, of));
    }
    const double each = static_cast<double>(halves) / 2 / static_cast<double>(std::ssize(own));
    shares.push_back(others > 0 ? each / static_cast<double>(others) : 0.5);
  }
  return shares;
}

// The mean share of the partners j != i that score below the own one, where weights read the side of kernel.
double pair_share(const Matrix& weights, const Matrix& kernel) {
  const Eigen::Index count = weights.rows();
  Matrix scores = weights * kernel;
  scores.rowwise() -= scores.colwise().mean().eval();
  int64_t halves = 0;
  for (Eigen::Index j = 0; j < count; ++j)
    for (Eigen::Index i = 0; i < count; ++i)
      if (i != j) halves += below(scores(i, j), scores(i, i));
  return static_cast<double>(halves) / 2 / static_cast<double>(count) / static_cast<double>(count - 1);
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// delta: twice how much better labels read V than A, less what chance explains.
double preference(const std::vector<double>& shares_a, const std::vector<double>& shares_v) {
  std::vector<double> differences(shares_a.size());
  for (size_t i = 0; i < differences.size(); ++i) differences[i] = shares_v[i] - shares_a[i];
  const double middle = mean(differences);
  const auto count = static_cast<double>(differences.size());
  double square = 0;
  for (const double difference : differences) square += (difference - middle) * (difference - middle);
  const double error = std::sqrt(square / (count - 1) / count);
  return 2 * std::copysign(std::max(0.0, std::abs(middle) - error), middle);
}

std::string number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.2f", value);
  return buffer;
}

}  // namespace

Evidence measure_evidence(const data::Features& a, const data::Features& v, std::span<const int32_t> labels,
                          int64_t classes, const data::LabelSets& sets) {
  const auto count = static_cast<int64_t>(labels.size());
  require(a.rows == count && v.rows == count, "evidence: expected as many rows as labels, ", count, ", got ", a.rows,
          " and ", v.rows);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t label = labels[static_cast<size_t>(i)];
    const int64_t known = sets.given() ? sets.count() : classes;
    require(label >= -1 && label < known, "evidence: label ", i, ": expected -1 to ", known - 1, ", got ", label);
  }
  const Rows all = spaced(count, [](int64_t) { return true; });
  const Rows labelled = spaced(count, [&](int64_t i) { return labels[static_cast<size_t>(i)] >= 0; });
  // Rows of one label tell nothing of it.
  const bool differ = std::ranges::any_of(labelled, [&](int64_t row) {
    return labels[static_cast<size_t>(row)] != labels[static_cast<size_t>(labelled[0])];
  });

  Evidence evidence;
  double delta = 0;
  std::array<Modality, 2> sides;
  const auto read = [&](const Rows& rows) { sides = {leave_one_out(a, rows), leave_one_out(v, rows)}; };
  if (differ) {
    read(labelled);
    const RowClasses by_class = row_classes(labelled, labels, sets);
    std::array<std::vector<double>, 2> shares;
    for (const size_t side : {0, 1}) {
      shares[side] = class_shares(sides[side].weights, by_class, classes);
      evidence.labels_read[side] = std::max(0.0, 2 * mean(shares[side]) - 1);
    }
    delta = preference(shares[0], shares[1]);
  }
  evidence.unread = 1 - std::max(evidence.labels_read[0], evidence.labels_read[1]);

  double generality = kLeastGenerality;
  if (all.size() >= 3) {
    if (!differ || all != labelled) read(all);
    const auto& [side_a, side_v] = sides;
    generality =
        std::max(generality, pair_share(side_a.weights, side_v.kernel) + pair_share(side_v.weights, side_a.kernel) - 1);
  }
  evidence.pairs_generalise = generality;

  const double height = (evidence.labels_read[0] + evidence.labels_read[1]) / 2 + kLeastHeight;
  const double ratio = std::max(height + delta / 2, kLeastHeight) / std::max(height - delta / 2, kLeastHeight);
  // A power of up to 1998 may overflow to infinity, whose minimum with 1 is 1, or vanish to 0; no NaN, for ratio is
  // finite and above 0.
  const double power = 2 * (1 - generality) / generality;
  evidence.gradient_share = {std::min(1.0, std::pow(ratio, power)), std::min(1.0, std::pow(ratio, -power))};
  return evidence;
}

std::string evidence_note(const Evidence& evidence, const std::array<std::string, 2>& modalities) {
  const size_t learner = evidence.gradient_share[0] >= evidence.gradient_share[1] ? 0 : 1, other = 1 - learner;
  const double share = evidence.gradient_share[other];
  std::string ending = "both learn from each other";
  if (share < kWhole) {
    ending = modalities[learner] + " learns from " + modalities[other];
    if (share >= kNothing) ending += ", " + modalities[other] + " by " + number(share) + " from " + modalities[learner];
  }
  return "labels read " + modalities[0] + " " + number(evidence.labels_read[0]) + ", " + modalities[1] + " " +
         number(evidence.labels_read[1]) + "; pairs generalise " + number(evidence.pairs_generalise) + ": " + ending;
}

nlohmann::ordered_json evidence_facts(const Evidence& evidence, const std::array<std::string, 2>& modalities) {
  const auto by_name = [&](const std::array<double, 2>& values) {
    return nlohmann::ordered_json{{modalities[0], values[0]}, {modalities[1], values[1]}};
  };
  return {{"labels_read", by_name(evidence.labels_read)},
          {"unread", evidence.unread},
          {"pairs_generalise", evidence.pairs_generalise},
          {"gradient_share", by_name(evidence.gradient_share)}};
}

}  // namespace duet
