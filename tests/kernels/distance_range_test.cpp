// Distances and gradients at the ends of their range: close and opposite directions, rows whose squares leave float32's
// range.
#include "tests/reference/distance.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

const duet_metric kDistances[] = {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE};
std::vector<duet_precision> precisions() {
  return values_of({DUET_PRECISION_TF32X3, DUET_PRECISION_FP32, DUET_PRECISION_TF32, DUET_PRECISION_BF16});
}
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Results {
  Floats distances, grad_x, grad_y;
};

// distances, and what an upstream gradient gives the rows; with_distances: cosine's backward reads them.
Results run(Floats x, Floats y, duet_metric metric, Floats upstream, bool with_distances = true,
            duet_precision precision = DUET_PRECISION_TF32X3) {
  Context context(2, precision);
  duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
  in.x = x.matrix(), in.y = y.matrix(), in.metric = metric;
  size_t bytes = 0;
  SUCCEED_CALL(duet_distance_workspace(context, &in, &bytes));
  Scratch scratch(bytes);
  Results out{Floats(x.rows(), y.rows()), Floats(x.rows(), x.columns()).fill(0), Floats(y.rows(), y.columns()).fill(0)};
  SUCCEED_CALL(duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = out.distances.matrix()}),
                                     scratch.view()));
  const bool reads = metric == DUET_METRIC_EUCLIDEAN || (metric == DUET_METRIC_COSINE && with_distances);
  SUCCEED_CALL(duet_distance_backward(
      context, &in,
      sized<duet_distance_gradients>({.distances = reads ? out.distances.matrix() : duet_matrix{},
                                      .grad_distances = upstream.matrix(),
                                      .grad_x = out.grad_x.matrix(),
                                      .grad_y = out.grad_y.matrix()}),
      scratch.view()));
  return out;
}

// 1 - cos from the difference of the unit rows, which does not cancel.
Doubles cosines(const Floats& x, const Floats& y) {
  const int64_t n = x.rows(), m = y.rows(), d = x.columns();
  Doubles out = reference::distances(reference::unit_rows(x.values(), n, d), reference::unit_rows(y.values(), m, d), n,
                                     m, d, DUET_METRIC_SQEUCLIDEAN);
  for (double& value : out) value /= 2;
  return out;
}

// Rows of y at a small angle to those of x, and of other lengths; the last row of y points the other way.
struct Pair {
  Floats x, y;
};
Pair rows_at_angle(int64_t n, int64_t d, double angle, uint64_t seed) {
  Draw draw(seed);
  Pair out{draw.unit_rows(n, d), Floats(n, d)};
  const Floats step = draw.unit_rows(n, d);
  for (int64_t i = 0; i < n; ++i) {
    const double length = draw.uniform(0.1, 9);
    for (int64_t k = 0; k < d; ++k)
      out.y.at(i, k) = static_cast<float>((i == n - 1 ? -length : length) * (out.x.at(0, k) + angle * step.at(i, k)));
    for (int64_t k = 0; k < d; ++k)
      out.x.at(i, k) = static_cast<float>(out.x.at(0, k) + angle * out.x.at(i, k) * (i > 0));
  }
  return out;
}

}  // namespace

TEST_CASE("small cosine distances keep their digits") {
  for (const double angle : values_of({0.09, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 3e-8}))
    for (const int64_t d : values_of<int64_t>({2, 19, 96})) {
      CAPTURE(angle);
      CAPTURE(d);
      const Pair pair = rows_at_angle(17, d, angle, 41);
      const Doubles expected = cosines(pair.x, pair.y);
      const Results actual = run(pair.x, pair.y, DUET_METRIC_COSINE, Floats(17, 17).fill(0));
      int64_t close = 0, off = 0;
      for (size_t k = 0; k < expected.size(); ++k) {
        const double value = actual.distances.values()[k];
        CHECK((value >= 0 && value <= 2));
        if (expected[k] >= 0.0099) continue;
        ++close;
        // METHOD.md 1: float32's last rounding, and double's of the unit rows.
        off += !(std::abs(value - expected[k]) <= 1e-7 * expected[k] + 1e-15 * std::sqrt(expected[k]) + 1e-28);
      }
      CHECK(close >= 200);
      CHECK(off == 0);
    }
}

TEST_CASE("gradients of small cosine distances keep their digits where backward is given the distances") {
  const int64_t n = 17, d = 19;
  for (const double angle : values_of({1e-2, 1e-4, 1e-6})) {
    CAPTURE(angle);
    const Pair pair = rows_at_angle(n, d, angle, 42);
    Floats upstream = Draw(43).normals(n, n);
    for (int64_t i = 0; i < n; ++i) upstream.at(i, n - 1) = 0;  // the opposite row is no close one
    const auto expected =
        reference::distance_gradients(pair.x.values(), pair.y.values(), n, n, d, DUET_METRIC_COSINE, upstream.values());
    const Results actual = run(pair.x, pair.y, DUET_METRIC_COSINE, upstream);
    // A row's sum of 17 terms in float32, each as large as its angle. Lengths of y differ by 90: so row by row.
    const auto check = [&](const Doubles& values, const Doubles& wanted) {
      for (int64_t i = 0; i < n; ++i) {
        const auto row = [&](const Doubles& of) { return Doubles(of.begin() + i * d, of.begin() + (i + 1) * d); };
        check_relative(row(values), row(wanted), 4e-6, "gradient of a row");
      }
    };
    check(actual.grad_x.values(), expected.x);
    check(actual.grad_y.values(), expected.y);
    // Without the distances: METHOD.md 1's bound by the sum of |dL/dD|.
    const Results blind = run(pair.x, pair.y, DUET_METRIC_COSINE, upstream, false);
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0, worst = 0;
      for (int64_t j = 0; j < n; ++j) sum += std::abs(upstream.at(i, j));
      for (int64_t k = 0; k < d; ++k)
        worst = std::max(worst, std::abs(blind.grad_x.at(i, k) - expected.x[static_cast<size_t>(i * d + k)]));
      CHECK(worst <= 2e-6 * sum);
    }
  }
}

TEST_CASE("rows that are multiples of each other are at cosine distance 0 or 2, and none leaves [0, 2]") {
  for (const int64_t d : values_of<int64_t>({1, 2, 7, 384, 64})) {
    CAPTURE(d);
    Draw draw(44);
    const int64_t n = 9, m = 40;
    Floats x = draw.normals(n, d), y(m, d);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < d; ++k) x.at(i, k) = static_cast<float>(draw.integer(-99, 99)) + (k == 0 ? 0.5f : 0);
    for (int64_t j = 0; j < m; ++j)
      for (int64_t k = 0; k < d; ++k) y.at(j, k) = x.at(j % n, k) * static_cast<float>(j % 2 ? -1 - j : 1 + j);
    for (const duet_precision precision : precisions()) {
      if (on_cpu() && precision != DUET_PRECISION_TF32X3) continue;
      const bool exact = precision == DUET_PRECISION_TF32X3 || precision == DUET_PRECISION_FP32;
      const Results actual = run(x, y, DUET_METRIC_COSINE, Floats(n, m).fill(0), true, precision);
      int64_t outside = 0, off = 0;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j) {
          const float value = actual.distances.at(i, j);
          outside += !(value >= 0 && value <= 2);
          if (j % n == i) off += j % 2 ? !(value >= 2 - (exact ? 4e-6 : 1.6e-2)) : !(value <= (exact ? 0 : 1.6e-2));
        }
      CHECK(outside == 0);
      CHECK(off == 0);
    }
  }
}

TEST_CASE("rows whose squares leave float32's range have their distances and gradients") {
  const int64_t n = 12, m = 14, d = 5;
  for (const double scale : values_of({1e-30, 1e-44, 1e-40, 1e-38, 1e-23, 1e-20, 1e-19, 1e-17, 1e-15, 1e-8, 1.0, 1e8,
                                       1e15, 1e19, 1e20, 1e30, 6e37, 1e18}))
    for (const duet_metric metric : kDistances) {
      CAPTURE(scale);
      CAPTURE(static_cast<int>(metric));
      Draw draw(45);
      Floats x = draw.unit_rows(n, d), y = draw.unit_rows(m, d);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < d; ++k) x.at(i, k) = static_cast<float>(scale * x.at(i, k));
      for (int64_t j = 0; j < m; ++j)
        for (int64_t k = 0; k < d; ++k) y.at(j, k) = j == 3 ? x.at(3, k) : static_cast<float>(scale * y.at(j, k));
      const Floats upstream = draw.normals(n, m);
      Doubles expected =
          metric == DUET_METRIC_COSINE ? cosines(x, y) : reference::distances(x.values(), y.values(), n, m, d, metric);
      if (metric == DUET_METRIC_COSINE && scale < 1e-13)
        expected = reference::distances(x.values(), y.values(), n, m, d, metric);
      for (double& value : expected)
        if (value > std::numeric_limits<float>::max()) value = kInfinity;
      const Results actual = run(x, y, metric, upstream);
      // Squared distances: 2e-6 of the squared norms; their roots are not close ones: 4e-6. A subnormal number is off
      // by half of the smallest.
      const double unit = metric == DUET_METRIC_COSINE ? 1 : metric == DUET_METRIC_EUCLIDEAN ? scale : scale * scale;
      check_close(actual.distances.values(), expected, 4e-6 * unit + 1.5e-45, "distances");
      if (metric != DUET_METRIC_COSINE || scale > 1e-13) CHECK(actual.distances.at(3, 3) == 0);
      const auto gradients = reference::distance_gradients(x.values(), y.values(), n, m, d, metric, upstream.values());
      if (largest(gradients.x) > 1e37 || largest(gradients.y) > 1e37) continue;  // a term may be past float32's range
      // A product of numbers under 1.2e-38 loses digits.
      check_relative(actual.grad_x.values(), gradients.x, 4e-6, "grad_x", 1.2e-38);
      check_relative(actual.grad_y.values(), gradients.y, 4e-6, "grad_y", 1.2e-38);
    }
}

TEST_CASE("rows of every magnitude beside each other") {
  const int64_t n = 40, d = 7;
  Draw draw(46);
  Floats x = draw.unit_rows(n, d), y = draw.unit_rows(n, d);
  for (int64_t i = 0; i < n; ++i) {
    const double of_x = std::pow(10, draw.integer(-44, 37)), of_y = i % 3 ? of_x : std::pow(10, draw.integer(-44, 37));
    for (int64_t k = 0; k < d; ++k)
      x.at(i, k) = static_cast<float>(of_x * x.at(i, k)), y.at(i, k) = static_cast<float>(of_y * y.at(i, k));
  }
  for (const duet_precision precision : precisions()) {
    if (on_cpu() && precision != DUET_PRECISION_TF32X3) continue;
    CAPTURE(static_cast<int>(precision));
    const bool exact = precision == DUET_PRECISION_TF32X3 || precision == DUET_PRECISION_FP32;
    for (const duet_metric metric : kDistances) {
      CAPTURE(static_cast<int>(metric));
      const Doubles expected = reference::distances(x.values(), y.values(), n, n, d, metric);
      const Results actual = run(x, y, metric, Floats(n, n).fill(1), true, precision);
      int64_t off = 0, not_finite = 0;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) {
          const double want = expected[static_cast<size_t>(i * n + j)], got = actual.distances.at(i, j);
          const double longer = std::max(reference::norm(&x.values()[static_cast<size_t>(i * d)], d),
                                         reference::norm(&y.values()[static_cast<size_t>(j * d)], d));
          const double unit = metric == DUET_METRIC_COSINE      ? 1
                              : metric == DUET_METRIC_EUCLIDEAN ? longer
                                                                : longer * longer;
          if (!exact && unit < 1e-15) continue;  // METHOD.md 1: recomputed in fp32 and 3xTF32 alone
          off += want > 3.4e38 ? got < 3.3e38 : !(std::abs(got - want) <= (exact ? 4e-6 : 6e-2) * unit + 1.5e-45);
        }
      if (metric == DUET_METRIC_EUCLIDEAN)
        for (int64_t i = 0; i < n * d; ++i)
          not_finite += !std::isfinite(actual.grad_x.data()[i]) + !std::isfinite(actual.grad_y.data()[i]);
      CHECK(off == 0);
      CHECK(not_finite == 0);
    }
  }
}

TEST_CASE("infinity and NaN in a row are where the reference has them") {
  const int64_t n = 6, m = 7, d = 3;
  Draw draw(47);
  Floats x = draw.normals(n, d), y = draw.normals(m, d);
  x.at(1, 0) = kInfinity, y.at(2, 0) = kInfinity, y.at(3, 1) = -kInfinity, x.at(4, 2) = std::nanf("");
  for (int64_t k = 0; k < d; ++k) x.at(5, k) = 3e38f, y.at(6, k) = -3e38f, y.at(5, k) = 1e-40f;
  for (const duet_precision precision : precisions())
    for (const duet_metric metric : kDistances) {
      CAPTURE(static_cast<int>(precision));
      CAPTURE(static_cast<int>(metric));
      Doubles expected = reference::distances(x.values(), y.values(), n, m, d, metric);
      for (double& value : expected)
        if (value > std::numeric_limits<float>::max()) value = kInfinity;
      const Doubles actual = run(x, y, metric, Floats(n, m).fill(0), true, precision).distances.values();
      const bool exact = precision == DUET_PRECISION_TF32X3 || precision == DUET_PRECISION_FP32 || on_cpu();
      for (size_t k = 0; k < actual.size(); ++k) {
        CAPTURE(k);
        CHECK(std::isnan(actual[k]) == std::isnan(expected[k]));
        CHECK(std::isinf(actual[k]) == std::isinf(expected[k]));
        if (std::isfinite(expected[k]))
          CHECK(std::abs(actual[k] - expected[k]) <= (exact ? 1e-5 : 0.1) * (1 + std::abs(expected[k])));
      }
    }
}
