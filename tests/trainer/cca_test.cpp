// CCA and cluster-CCA against the generalised eigenvalue problem, over all pairs written out, and on a case whose
// correlations are known; then the command.
#include "trainer/cca.h"

#include <doctest/doctest.h>

#include <Eigen/Eigenvalues>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "kernels/core/error.h"
#include "tests/trainer/program.h"

using namespace duet;
using namespace duet::testing;
using nlohmann::json;
using Matrix = Eigen::MatrixXd;

namespace {

struct Sides {
  data::Features a, v;
  std::vector<int32_t> labels;
};

// Both sides are linear maps of factors of a pair and its class, with noise; the last rows have no label.
Sides draw(int64_t rows, int64_t p, int64_t q, int32_t classes, int64_t unlabelled = 0) {
  std::mt19937_64 random(static_cast<uint64_t>(rows * 1000 + p));
  std::normal_distribution<double> normal;
  Sides out{data::Features(rows, p), data::Features(rows, q), {}};
  const auto matrix = [&](Eigen::Index height, Eigen::Index width) {
    return Matrix(Matrix::NullaryExpr(height, width, [&] { return normal(random); }));
  };
  const Eigen::Index factors = 6;
  const Matrix map_a = matrix(p, factors), map_v = matrix(q, factors), centres = matrix(factors, classes);
  for (int64_t i = 0; i < rows; ++i) {
    const auto label = static_cast<int32_t>(i % classes);
    out.labels.push_back(i >= rows - unlabelled ? -1 : label);
    const Eigen::VectorXd z = centres.col(label) + matrix(factors, 1);
    Eigen::Map<Eigen::VectorXf>(out.a.row(i), p) = (map_a * z + 2 * matrix(p, 1)).cast<float>();
    Eigen::Map<Eigen::VectorXf>(out.v.row(i), q) = (map_v * z + 2 * matrix(q, 1)).cast<float>();
  }
  return out;
}

using Pairs = std::vector<std::pair<int64_t, int64_t>>;

Pairs own_pairs(const Sides& sides) {
  Pairs out;
  for (int64_t i = 0; i < sides.a.rows; ++i) out.emplace_back(i, i);
  return out;
}

Pairs class_pairs(const Sides& sides) {
  Pairs out;
  for (int64_t i = 0; i < sides.a.rows; ++i)
    for (int64_t j = 0; j < sides.a.rows; ++j)
      if (sides.labels[static_cast<size_t>(i)] >= 0 &&
          sides.labels[static_cast<size_t>(i)] == sides.labels[static_cast<size_t>(j)])
        out.emplace_back(i, j);
  return out;
}

struct Reference {
  Eigen::VectorXd correlations;  // descending
  Matrix a, v;                   // directions, a column each
  Eigen::VectorXd mean_a, mean_v;
};

// From the definition: the stacked problem [0 C; C' 0] w = r [A 0; 0 B] w over the pairs as they are written.
Reference solve(const Sides& sides, const Pairs& pairs, double ridge) {
  const Eigen::Index p = sides.a.columns, q = sides.v.columns;
  Matrix rows(std::ssize(pairs), p + q);
  for (size_t k = 0; k < pairs.size(); ++k) {
    const auto at = static_cast<Eigen::Index>(k);
    rows.row(at).head(p) = Eigen::Map<const Eigen::RowVectorXf>(sides.a.row(pairs[k].first), p).cast<double>();
    rows.row(at).tail(q) = Eigen::Map<const Eigen::RowVectorXf>(sides.v.row(pairs[k].second), q).cast<double>();
  }
  const Eigen::RowVectorXd mean = rows.colwise().mean();
  rows.rowwise() -= mean;
  const Matrix covariance = rows.transpose() * rows / static_cast<double>(pairs.size());
  Matrix left = covariance, right = covariance;
  left.topLeftCorner(p, p).setZero();
  left.bottomRightCorner(q, q).setZero();
  right.topRightCorner(p, q).setZero();
  right.bottomLeftCorner(q, p).setZero();
  right.diagonal().head(p).array() += ridge * covariance.diagonal().head(p).mean();
  right.diagonal().tail(q).array() += ridge * covariance.diagonal().tail(q).mean();
  const Eigen::GeneralizedSelfAdjointEigenSolver<Matrix> solver(left, right);
  const Matrix vectors = solver.eigenvectors().rowwise().reverse();
  return {solver.eigenvalues().reverse(), vectors.topRows(p), vectors.bottomRows(q), mean.head(p), mean.tail(q)};
}

// Unit rows of the reference's projection; the same up to a sign for each direction.
Matrix projected(const data::Features& features, const Eigen::VectorXd& mean, const Matrix& directions) {
  Matrix out(features.rows, directions.cols());
  for (int64_t i = 0; i < features.rows; ++i)
    out.row(i) = (directions.transpose() *
                  (Eigen::Map<const Eigen::VectorXf>(features.row(i), features.columns).cast<double>() - mean))
                     .normalized()
                     .transpose();
  return out;
}

double cosine(const data::Features& a, int64_t i, const data::Features& v, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < a.columns; ++k) sum += static_cast<double>(a.row(i)[k]) * static_cast<double>(v.row(j)[k]);
  return sum;
}

// Correlations, and the cosines of every row of a with every row of v, which no sign changes.
void check_agrees(const Sides& sides, const Pairs& pairs, const CcaOptions& options, double tolerance = 1e-9) {
  const Cca cca(sides.a, sides.v, sides.labels, options);
  const Reference reference = solve(sides, pairs, options.ridge);
  REQUIRE(cca.dim() <= options.dim);
  REQUIRE(cca.dim() <= reference.correlations.size());
  for (int64_t k = 0; k < cca.dim(); ++k)
    CHECK(std::abs(cca.correlations()[static_cast<size_t>(k)] - reference.correlations[k]) <= tolerance);
  const data::Features a = cca.embed(0, sides.a), v = cca.embed(1, sides.v);
  const Matrix u = projected(sides.a, reference.mean_a, reference.a.leftCols(cca.dim())),
               w = projected(sides.v, reference.mean_v, reference.v.leftCols(cca.dim()));
  const Matrix cosines = u * w.transpose();
  double worst = 0;
  for (int64_t i = 0; i < sides.a.rows; ++i)
    for (int64_t j = 0; j < sides.v.rows; ++j) worst = std::max(worst, std::abs(cosine(a, i, v, j) - cosines(i, j)));
  // Two unit rows rounded to float32: 2^-23 of the cosine.
  CHECK(worst <= 0x1p-23 + 1e3 * tolerance);
}

void check_refused(const Sides& sides, const CcaOptions& options, const std::string& words) {
  try {
    const Cca cca(sides.a, sides.v, sides.labels, options);
    FAIL("not refused: ", words);
  } catch (const Error& error) {
    CHECK(error.status() == DUET_STATUS_INVALID_ARGUMENT);
    CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, error.what());
  }
}

}  // namespace

TEST_CASE("CCA is the generalised eigenvalue problem's, on tall, wide and square sides") {
  for (const std::array<int64_t, 3>& shape :
       {std::array<int64_t, 3>{200, 7, 11}, {200, 11, 7}, {30, 40, 9}, {30, 9, 40}, {25, 60, 50}, {600, 5, 5}}) {
    const int64_t rows = shape[0], p = shape[1], q = shape[2];
    CAPTURE(rows);
    CAPTURE(p);
    CAPTURE(q);
    const Sides sides = draw(rows, p, q, 4);
    for (const double ridge : {1e-3, 0.1, 2.0})
      for (const int64_t dim : {int64_t{1}, int64_t{4}}) check_agrees(sides, own_pairs(sides), {false, dim, ridge});
  }
}

TEST_CASE("cluster-CCA is CCA of all pairs of a class, without the rows that have no label") {
  for (const std::array<int64_t, 4>& shape :
       {std::array<int64_t, 4>{90, 7, 11, 4}, {90, 11, 7, 5}, {31, 40, 9, 3}, {17, 30, 40, 4}}) {
    const int64_t rows = shape[0], p = shape[1], q = shape[2], classes = shape[3];
    CAPTURE(rows);
    CAPTURE(p);
    CAPTURE(q);
    const Sides sides = draw(rows, p, q, static_cast<int32_t>(classes), rows / 5);
    for (const double ridge : {1e-3, 0.1}) check_agrees(sides, class_pairs(sides), {true, classes - 1, ridge});
    const Cca all(sides.a, sides.v, sides.labels, {.clusters = true, .dim = 64, .ridge = 0.1});
    CHECK(all.dim() == classes - 1);  // the rank of the class means about their mean
  }
}

TEST_CASE("canonical correlations that are known") {
  // x = (s, t), y = (r s + sqrt(1 - r^2) e, f): correlations r and 0; on so many rows within 4 / sqrt(n).
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal;
  const int64_t rows = 40'000;
  const float known[] = {0.9F, 0.5F, 0.2F};
  Sides sides{data::Features(rows, 3), data::Features(rows, 3), std::vector<int32_t>(static_cast<size_t>(rows), -1)};
  for (int64_t i = 0; i < rows; ++i)
    for (int k = 0; k < 3; ++k) {
      sides.a.row(i)[k] = normal(random);
      sides.v.row(i)[2 - k] =
          5 + 3 * (known[k] * sides.a.row(i)[k] + std::sqrt(1 - known[k] * known[k]) * normal(random));
    }
  const Cca cca(sides.a, sides.v, sides.labels, {.dim = 3, .ridge = 1e-6});
  REQUIRE(cca.dim() == 3);
  for (size_t k = 0; k < 3; ++k)
    CHECK(std::abs(cca.correlations()[k] - static_cast<double>(known[k])) <= 4 / std::sqrt(static_cast<double>(rows)));
}

TEST_CASE("constant columns, copies of columns and few rows are no harm") {
  Sides sides = draw(50, 6, 8, 3);
  for (int64_t i = 0; i < 50; ++i) {
    sides.a.row(i)[2] = 0;
    sides.a.row(i)[4] = sides.a.row(i)[1];
    sides.v.row(i)[7] = 2 * sides.v.row(i)[0];
  }
  check_agrees(sides, own_pairs(sides), {false, 4, 0.1});
  const Cca loose(sides.a, sides.v, sides.labels, {.dim = 64, .ridge = kLeastRidge});
  CHECK(loose.dim() == 4);  // the rank of a
  for (const double correlation : loose.correlations()) CHECK((correlation > 0 && correlation <= 1));

  const Sides two = draw(2, 5, 3, 2);
  for (const bool clusters : {false, true}) {
    const Cca cca(two.a, two.v, two.labels, {.clusters = clusters, .dim = 3, .ridge = 1e-6});
    CHECK(cca.dim() == 1);
    CHECK(cca.correlations()[0] == doctest::Approx(1).epsilon(1e-5));
    const data::Features a = cca.embed(0, two.a), v = cca.embed(1, two.v);
    CHECK(cosine(a, 0, v, 0) == doctest::Approx(1));
    CHECK(cosine(a, 0, v, 1) == doctest::Approx(-1));
  }
}

TEST_CASE("what CCA cannot do is refused") {
  const Sides sides = draw(20, 4, 5, 1);
  check_refused(sides, {.clusters = true}, "labelled rows of at least two classes, got 1");
  check_refused(draw(20, 4, 5, 2, 20), {.clusters = true}, "labelled rows of at least two classes, got 0");
  check_refused(draw(1, 4, 5, 1), {}, "at least two pairs, got 1");
  check_refused(sides, {.ridge = 0}, "a ridge of at least");
  check_refused(sides, {.dim = 0}, "at least one direction");
  Sides flat = draw(20, 4, 5, 2);
  std::ranges::fill(flat.a.values, 3.0F);
  check_refused(flat, {}, "rows that differ");
}

TEST_CASE("the block Krylov space gives the directions that the whole matrix gives") {
  const Sides sides = draw(900, 300, 350, 6);
  CcaOptions options{.dim = 6, .ridge = 0.1};
  const Cca exact(sides.a, sides.v, sides.labels, options);
  options.widest_exact = 100;
  const Cca near(sides.a, sides.v, sides.labels, options);
  REQUIRE(near.dim() == exact.dim());
  for (size_t k = 0; k < 6; ++k) CHECK(std::abs(near.correlations()[k] - exact.correlations()[k]) <= 1e-6);
  const data::Features a = exact.embed(0, sides.a), b = near.embed(0, sides.a);
  for (int64_t i = 0; i < 50; ++i) {
    double same = 0;
    for (int64_t k = 0; k < 6; ++k)
      same += std::abs(static_cast<double>(a.row(i)[k]) * static_cast<double>(b.row(i)[k]));
    CHECK(same >= 0.999);  // each direction up to its sign
  }
}

TEST_CASE("duet baseline prints what duet eval prints, and says what it left out") {
  const TemporaryFolder folder;
  const std::string data = folder / "data";
  write_small_set(data);
  for (const std::string method : {"cca", "cluster_cca"}) {
    CAPTURE(method);
    const Outcome table = run_program({"baseline", "--data", data, "--method", method});
    CHECK(table.code == 0);
    CHECK(table.out.starts_with("measure"));
    CHECK(table.out.find("map_over_cutoffs") != std::string::npos);
    CHECK(table.err.find(method == "cca" ? "no more than 12 of the 64 directions" : "no more than 3 of the 64") !=
          std::string::npos);
    const Outcome one = run_program({"baseline", "--data", data, "--method", method, "--dim", "3", "--labels", "0.5",
                                     "--ridge", "0.2", "--json", "--threads", "1"}),
                  again = run_program({"baseline", "--data", data, "--method", method, "--set", "embedding_dim=3",
                                       "--labels", "0.5", "--ridge", "0.2", "--json", "--threads", "2"});
    REQUIRE(one.code == 0);
    CHECK(one.out == again.out);
    const json facts = json::parse(one.out);
    CHECK(facts["map"]["mean"] > 0.3);  // 0.25 is chance
    CHECK(facts["baseline"]["dim"] == 3);
    CHECK(facts["baseline"]["ridge"] == 0.2);
    CHECK(facts["baseline"]["correlations"].size() == 3);
  }
  const auto refused = [&](std::vector<std::string> more, const std::string& words) {
    std::vector<std::string> arguments = {"baseline", "--data", data};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_program(arguments);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK_MESSAGE(outcome.err.find(words) != std::string::npos, outcome.err);
  };
  refused({"--method", "pca"}, "--method: expected cca or cluster_cca, got 'pca'");
  refused({"--method", "cca", "--ridge", "0"}, "--ridge: expected a number of at least 1e-09, got 0");
  refused({"--method", "cca", "--dim", "0"}, "--dim: expected a value");
  refused({}, "--method is required");
  CHECK(run_program({"baseline", "--data", "", "--method", "cca"}).err ==
        "duet: --data: expected a path, got nothing\n");
}
