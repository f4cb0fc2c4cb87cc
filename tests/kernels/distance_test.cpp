#include "tests/reference/distance.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"
#include "tests/support/tolerance.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

const duet_metric kMetrics[] = {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE, DUET_METRIC_INNER};
const char* const kNames[] = {"inner", "sqeuclidean", "euclidean", "cosine"};

struct Pair {
  Floats x, y;

  int64_t n() const { return x.rows(); }
  int64_t m() const { return y.rows(); }
  int64_t d() const { return x.columns(); }
  Doubles distances(duet_metric metric) const {
    return reference::distances(x.values(), y.values(), n(), m(), d(), metric);
  }
};

duet_distance_inputs inputs_of(Pair& pair, duet_metric metric) {
  duet_distance_inputs inputs = DUET_DISTANCE_INPUTS_INIT;
  inputs.x = pair.x.matrix(), inputs.y = pair.y.matrix(), inputs.metric = metric;
  return inputs;
}

Floats forward(Pair& pair, duet_metric metric, int threads = 2, int64_t padding = 0,
               duet_precision precision = DUET_PRECISION_TF32X3) {
  Context context(threads, precision);
  const duet_distance_inputs inputs = inputs_of(pair, metric);
  size_t bytes = 0;
  SUCCEED_CALL(duet_distance_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Floats out(pair.n(), pair.m(), padding);
  SUCCEED_CALL(duet_distance_forward(context, &inputs, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                     scratch.view()));
  return out;
}

struct Gradients {
  Floats x, y;
};

Gradients backward(Pair& pair, duet_metric metric, Floats distances, Floats grad, int threads, Gradients into,
                   duet_precision precision = DUET_PRECISION_TF32X3) {
  Context context(threads, precision);
  const duet_distance_inputs inputs = inputs_of(pair, metric);
  size_t bytes = 0;
  SUCCEED_CALL(duet_distance_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  SUCCEED_CALL(duet_distance_backward(
      context, &inputs,
      sized<duet_distance_gradients>({.distances = metric == DUET_METRIC_EUCLIDEAN ? distances.matrix() : duet_matrix{},
                                      .grad_distances = grad.matrix(),
                                      .grad_x = into.x.matrix(),
                                      .grad_y = into.y.matrix()}),
      scratch.view()));
  return into;
}

Doubles sum(Doubles a, const Doubles& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

Doubles squares(Doubles values) {
  for (double& value : values) value *= value;
  return values;
}

// METHOD.md 1 for squared distances of rows of norm 1; an inner product's error is half of it. An Euclidean distance is
// held to its square.
double tolerance(int64_t d, duet_precision precision = DUET_PRECISION_TF32X3) {
  return 2 * inner_product_error(d, precision);
}

void check_distances(const Doubles& actual, const Doubles& expected, duet_metric metric, int64_t d,
                     double square_scale = 1, duet_precision precision = DUET_PRECISION_TF32X3) {
  const double allowed = tolerance(d, precision) * (metric == DUET_METRIC_COSINE  ? 0.5
                                                    : metric == DUET_METRIC_INNER ? 0.5 * square_scale
                                                                                  : square_scale);
  if (metric == DUET_METRIC_EUCLIDEAN)
    check_close(squares(actual), squares(expected), allowed, kNames[metric]);
  else
    check_close(actual, expected, allowed, kNames[metric]);
  if (metric != DUET_METRIC_INNER)
    CHECK(std::none_of(actual.begin(), actual.end(), [](double value) { return value < 0; }));
}

struct Shape {
  int64_t n, m, d, padding;
};
const Shape kShapes[] = {{1, 1, 1, 0},      {1, 7, 3, 0},       {13, 1, 5, 2},   {31, 67, 33, 3}, {128, 128, 64, 0},
                         {129, 129, 31, 1}, {129, 257, 129, 1}, {4100, 3, 2, 0}, {3, 4100, 2, 1}, {5, 3, 0, 0}};

}  // namespace

TEST_CASE("distances agree with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    if (!affordable_tiles(s.n, s.m, s.d)) continue;
    CAPTURE(s.n);
    Draw draw(11);
    Pair pair{draw.unit_rows(s.n, s.d, s.padding), draw.unit_rows(s.m, s.d, s.padding)};
    for (const duet_metric metric : kMetrics) {
      const Floats first = forward(pair, metric, 1, s.padding);
      check_distances(first.values(), pair.distances(metric), metric, s.d);
      for (const int threads : other_thread_counts()) CHECK(forward(pair, metric, threads, s.padding).same_bits(first));
    }
  }
}

TEST_CASE("distance gradients agree with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    if (!affordable_tiles(s.n, s.m, s.d)) continue;
    CAPTURE(s.n);
    Draw draw(12);
    Pair pair{draw.normals(s.n, s.d, 1.3, s.padding), draw.normals(s.m, s.d, 0.8, s.padding)};
    for (const duet_metric metric : kMetrics) {
      const Floats distances = forward(pair, metric, 2, s.padding), grad = draw.normals(s.n, s.m, 1, s.padding);
      const Gradients before{draw.normals(s.n, s.d, 1, s.padding), draw.normals(s.m, s.d, 1, s.padding)};
      const auto expected =
          reference::distance_gradients(pair.x.values(), pair.y.values(), s.n, s.m, s.d, metric, grad.values());
      const Gradients first = backward(pair, metric, distances, grad, 1, before);
      // Sums of up to 257 products in float32, relative to the largest of them; for more see the test beyond one block.
      const double relative = std::max(s.n, s.m) < 1000 ? 2e-6 : metric == DUET_METRIC_EUCLIDEAN ? 1e-4 : 4e-6;
      check_relative(first.x.values(), sum(before.x.values(), expected.x), relative,
                     std::string("grad_x ") + kNames[metric], 1e-6);
      check_relative(first.y.values(), sum(before.y.values(), expected.y), relative,
                     std::string("grad_y ") + kNames[metric], 1e-6);
      for (const int threads : other_thread_counts()) {
        const Gradients again = backward(pair, metric, distances, grad, threads, before);
        CHECK(again.x.same_bits(first.x));
        CHECK(again.y.same_bits(first.y));
      }
    }
  }
}

TEST_CASE("distances and their gradients in every precision") {
  const int64_t n = 129, m = 257, d = 67;  // beyond a tile of any precision
  if (!affordable_tiles(n, m, d)) return;
  Draw draw(20);
  Pair pair{draw.unit_rows(n, d, 1), draw.unit_rows(m, d, 1)};
  for (const duet_precision precision :
       {DUET_PRECISION_FP32, DUET_PRECISION_TF32X3, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
    CAPTURE(static_cast<int>(precision));
    for (const duet_metric metric : kMetrics) {
      const Doubles exact = pair.distances(metric);
      check_distances(forward(pair, metric, 2, 1, precision).values(), exact, metric, d, 1, precision);
      const Floats grad = draw.normals(n, m, 1, 1);
      const Gradients zero{Floats(n, d, 3).fill(0), Floats(m, d).fill(0)};
      Floats distances(n, m);
      distances.assign(exact);
      const Gradients actual = backward(pair, metric, distances, grad, 2, zero, precision);
      const auto expected =
          reference::distance_gradients(pair.x.values(), pair.y.values(), n, m, d, metric, grad.values());
      // Two rounded operands, as in a product of the forward pass.
      check_relative(actual.x.values(), expected.x, tolerance(d, precision), std::string("grad_x ") + kNames[metric]);
      check_relative(actual.y.values(), expected.y, tolerance(d, precision), std::string("grad_y ") + kNames[metric]);
    }
  }
}

TEST_CASE("the reference's distance gradients are those of its distances") {
  const int64_t n = 4, m = 5, d = 3;
  Draw draw(13);
  const Doubles x = draw.normals(n, d).values(), y = draw.normals(m, d).values(), g = draw.normals(n, m).values();
  for (const duet_metric metric : kMetrics) {
    const auto loss = [&](const Doubles& a, const Doubles& b) {
      const Doubles values = reference::distances(a, b, n, m, d, metric);
      double total = 0;
      for (size_t k = 0; k < values.size(); ++k) total += values[k] * g[k];
      return total;
    };
    const auto analytic = reference::distance_gradients(x, y, n, m, d, metric, g);
    check_close(analytic.x, central_differences([&](const Doubles& at) { return loss(at, y); }, x), 1e-7,
                kNames[metric]);
    check_close(analytic.y, central_differences([&](const Doubles& at) { return loss(x, at); }, y), 1e-7,
                kNames[metric]);
  }
}

TEST_CASE("distances agree with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    Pair pair{golden.load("A").array(), golden.load("V").array()};
    const double scale = std::pow(std::max(largest(pair.x.values()), largest(pair.y.values())), 2) *
                         (golden.name() == "ties" ? pair.d() : 1);
    for (const duet_metric metric : kMetrics) {
      const std::string name = kNames[metric];
      const Floats distances = forward(pair, metric);
      check_distances(distances.values(), golden.load("D_" + name).values, metric, pair.d(), std::max(1.0, scale));
      const Gradients zero{Floats(pair.n(), pair.d()).fill(0), Floats(pair.m(), pair.d()).fill(0)};
      const Gradients actual = backward(pair, metric, distances, golden.load("G_" + name).array(), 2, zero);
      check_relative(actual.x.values(), golden.load("dA_" + name).values, 2e-6, "grad_x " + name, 1e-6);
      check_relative(actual.y.values(), golden.load("dV_" + name).values, 2e-6, "grad_y " + name, 1e-6);
    }
  }
}

TEST_CASE("close rows are told apart and equal rows are at 0") {
  const int64_t n = 70, d = 96;
  Draw draw(14);
  for (const double apart : {1e-2, 1e-4}) {
    Pair pair{draw.unit_rows(n, d), Floats(n, d)};
    const Floats step = draw.unit_rows(n, d);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < d; ++k) pair.y.at(i, k) = static_cast<float>(pair.x.at(i, k) + apart * step.at(i, k));
    for (int64_t k = 0; k < d; ++k) pair.y.at(3, k) = pair.x.at(3, k);
    for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
      const Floats actual = forward(pair, metric);
      const Doubles expected = pair.distances(metric);
      // METHOD.md 1: within 1 %. The cosine reference itself cancels, so that one is taken from the unit rows'
      // difference.
      const Doubles u = reference::unit_rows(pair.x.values(), n, d), w = reference::unit_rows(pair.y.values(), n, d);
      for (int64_t i = 0; i < n; ++i) {
        double exact = expected[static_cast<size_t>(i * n + i)];
        if (metric == DUET_METRIC_COSINE) {
          exact = 0;
          for (int64_t k = 0; k < d; ++k)
            exact += 0.5 * std::pow(u[static_cast<size_t>(i * d + k)] - w[static_cast<size_t>(i * d + k)], 2);
        }
        CHECK(std::abs(actual.at(i, i) - exact) <= 0.01 * exact);
      }
      CHECK(actual.at(3, 3) == 0);
    }
  }
}

TEST_CASE("a batch of one point repeated has distance 0 throughout and Euclidean gradient 0") {
  Pair pair{Floats(40, 19).fill(0.37), Floats(33, 19).fill(0.37)};
  for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
    const Floats distances = forward(pair, metric);
    CHECK(largest(distances.values()) == 0);
    if (metric != DUET_METRIC_EUCLIDEAN) continue;
    const Gradients zero{Floats(40, 19).fill(0), Floats(33, 19).fill(0)};
    const Gradients actual = backward(pair, metric, distances, Floats(40, 33).fill(1), 2, zero);
    CHECK(largest(actual.x.values()) == 0);
    CHECK(largest(actual.y.values()) == 0);
  }
}

TEST_CASE("distances of huge, tiny and zero rows") {
  const int64_t n = 21, d = 18;
  Draw draw(15);
  for (const double size : {1e22, 1e-25}) {
    Pair pair{draw.normals(n, d, size), draw.normals(n, d, size)};
    for (int64_t k = 0; k < d; ++k) pair.y.at(2, k) = pair.x.at(2, k);
    if (size > 1) {  // the square leaves float32's range, the distance does not
      check_relative(forward(pair, DUET_METRIC_EUCLIDEAN).values(), pair.distances(DUET_METRIC_EUCLIDEAN), 2e-6,
                     "euclidean");
      const Floats square = forward(pair, DUET_METRIC_SQEUCLIDEAN);
      CHECK(square.at(2, 2) == 0);
      CHECK(std::isinf(square.at(2, 3)));
      check_close(forward(pair, DUET_METRIC_COSINE).values(), pair.distances(DUET_METRIC_COSINE), tolerance(d),
                  "cosine");
    } else {  // shorter than eps: no direction, cosine's gradient is 0
      check_close(forward(pair, DUET_METRIC_COSINE).values(), pair.distances(DUET_METRIC_COSINE), tolerance(d),
                  "cosine");
      const Gradients zero{Floats(n, d).fill(0), Floats(n, d).fill(0)};
      CHECK(largest(backward(pair, DUET_METRIC_COSINE, Floats(n, n), Floats(n, n).fill(1), 2, zero).x.values()) == 0);
    }
  }
}

TEST_CASE("NaN in a row is NaN in its distances and nowhere else") {
  Draw draw(16);
  Pair pair{draw.unit_rows(35, 20), draw.unit_rows(37, 20)};
  pair.x.at(4, 7) = std::nanf(""), pair.y.at(36, 0) = std::nanf("");
  for (const duet_metric metric : kMetrics) {
    const Floats actual = forward(pair, metric);
    for (int64_t i = 0; i < 35; ++i)
      for (int64_t j = 0; j < 37; ++j) CHECK(std::isnan(actual.at(i, j)) == (i == 4 || j == 36));
  }
}

TEST_CASE("a gradient of 0 over NaN rows is what the formula makes of it, 0 times NaN and 0 by NaN") {
  Draw draw(17);
  Pair pair{draw.unit_rows(9, 5), draw.unit_rows(11, 5)};
  pair.x.at(4, 3) = pair.y.at(10, 0) = std::nanf("");
  for (const duet_metric metric : kMetrics) {
    const Gradients actual = backward(pair, metric, forward(pair, metric), Floats(9, 11).fill(0), 2,
                                      {Floats(9, 5).fill(0), Floats(11, 5).fill(0)});
    const auto expected =
        reference::distance_gradients(pair.x.values(), pair.y.values(), 9, 11, 5, metric, Doubles(9 * 11));
    check_close(actual.x.values(), expected.x, 0, std::string("grad_x ") + kNames[metric]);
    check_close(actual.y.values(), expected.y, 0, std::string("grad_y ") + kNames[metric]);
  }
}

TEST_CASE("distances and gradients beyond one block of the sweep, and of parts of a batch") {
  const int64_t d = 3;
  const bool large = affordable_tiles(2100, 1050, d);
  const int64_t n = large ? 2100 : 210, m = large ? 1050 : 105, row = n / 2 - 50, rows = n - row - 60, column = 4,
                columns = m - 5;
  Draw draw(17);
  Pair pair{draw.unit_rows(n, d), draw.unit_rows(m, d)};
  for (const duet_metric metric : kMetrics) {
    const Floats whole = forward(pair, metric);
    check_distances(whole.values(), pair.distances(metric), metric, d);
    Context context(2);
    duet_distance_inputs part = inputs_of(pair, metric);
    part.x = pair.x.part(row, 0, rows, d), part.y = pair.y.part(column, 0, columns, d);
    size_t bytes = 0;
    SUCCEED_CALL(duet_distance_workspace(context, &part, &bytes));
    Scratch scratch(bytes);
    Floats tile(rows, columns);
    SUCCEED_CALL(duet_distance_forward(context, &part, sized<duet_distance_outputs>({.distances = tile.matrix()}),
                                       scratch.view()));
    bool same = true;  // to the last bit: a distance depends on its two rows alone
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) same = same && tile.at(i, j) == whole.at(row + i, column + j);
    CHECK(same);
    const Floats grad = draw.normals(n, m);
    const Gradients zero{Floats(n, d).fill(0), Floats(m, d).fill(0)};
    const Gradients actual = backward(pair, metric, whole, grad, 2, zero);
    const auto gradients =
        reference::distance_gradients(pair.x.values(), pair.y.values(), n, m, d, metric, grad.values());
    // Sums of up to 2100 products. In three dimensions many rows are close: D is off by up to 1e-6 / (2 D^2), 2.5e-4 of
    // itself, where D^2 is just above the 4e-4 from which on it is not recomputed, and so is such a pair's 1/D.
    check_relative(actual.x.values(), gradients.x, metric == DUET_METRIC_EUCLIDEAN ? 1e-4 : 4e-6,
                   std::string("grad_x ") + kNames[metric]);
    check_relative(actual.y.values(), gradients.y, metric == DUET_METRIC_EUCLIDEAN ? 1e-4 : 4e-6,
                   std::string("grad_y ") + kNames[metric]);
  }
}

TEST_CASE("empty distances and gradients not asked for") {
  Draw draw(18);
  for (const auto& [n, m] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {0, 0}}) {
    Pair pair{draw.normals(n, 4), draw.normals(m, 4)};
    for (const duet_metric metric : kMetrics) {
      const Gradients before{draw.normals(n, 4), draw.normals(m, 4)};
      const Gradients after = backward(pair, metric, forward(pair, metric), Floats(n, m), 2, before);
      CHECK(after.x.same_bits(before.x));
      CHECK(after.y.same_bits(before.y));
    }
  }
  Pair pair{draw.normals(9, 4), draw.normals(6, 4)};
  for (const duet_metric metric : kMetrics) {
    Context context;
    const duet_distance_inputs inputs = inputs_of(pair, metric);
    size_t bytes = 0;
    SUCCEED_CALL(duet_distance_workspace(context, &inputs, &bytes));
    Scratch scratch(bytes);
    Floats distances = forward(pair, metric), grad = draw.normals(9, 6);
    const Gradients zero{Floats(9, 4).fill(0), Floats(6, 4).fill(0)};
    const Gradients both = backward(pair, metric, distances, grad, 2, zero);
    Gradients one = zero;
    const duet_matrix read = metric == DUET_METRIC_EUCLIDEAN ? distances.matrix() : duet_matrix{};
    SUCCEED_CALL(duet_distance_backward(
        context, &inputs,
        sized<duet_distance_gradients>(
            {.distances = read, .grad_distances = grad.matrix(), .grad_x = one.x.matrix(), .grad_y = duet_matrix{}}),
        scratch.view()));
    SUCCEED_CALL(duet_distance_backward(
        context, &inputs,
        sized<duet_distance_gradients>(
            {.distances = read, .grad_distances = grad.matrix(), .grad_x = duet_matrix{}, .grad_y = one.y.matrix()}),
        scratch.view()));
    CHECK(one.x.same_bits(both.x));
    CHECK(one.y.same_bits(both.y));
  }
}

TEST_CASE("beside a side of 0 rows nothing is added, not even 0 times a NaN") {
  Draw draw(20);
  for (const float value :
       {std::nanf(""), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
    for (const duet_metric metric : kMetrics)
      for (const auto& sides : {std::pair<int64_t, int64_t>{0, 67}, {67, 0}, {0, 1}, {1, 0}}) {
        const int64_t n = sides.first, m = sides.second;
        CAPTURE(value);
        CAPTURE(kNames[metric]);
        CAPTURE(n);
        Pair pair{draw.normals(n, 5), draw.normals(m, 5)};
        Floats& rows = n ? pair.x : pair.y;
        rows.at(0, 2) = rows.at(rows.rows() - 1, 4) = value;
        const Gradients before{draw.normals(n, 5), draw.normals(m, 5)};
        const Gradients after = backward(pair, metric, forward(pair, metric), Floats(n, m), 2, before);
        CHECK(after.x.same_bits(before.x));
        CHECK(after.y.same_bits(before.y));
      }
}

TEST_CASE("distance refuses misuse") {
  Context context;
  Draw draw(19);
  Pair pair{draw.normals(4, 3), draw.normals(5, 3)};
  Floats out(4, 5), wrong(5, 5), narrow = draw.normals(5, 2);
  duet_distance_inputs inputs = inputs_of(pair, DUET_METRIC_EUCLIDEAN);
  size_t bytes = 0;
  SUCCEED_CALL(duet_distance_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  FAIL_CALL(duet_distance_forward(context, &inputs, sized<duet_distance_outputs>({.distances = wrong.matrix()}),
                                  scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "distances: expected 4 x 5, got 5 x 5");
  FAIL_CALL(duet_distance_forward(context, nullptr, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                  scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_distance_forward(nullptr, &inputs, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                  scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_distance_forward(context, &inputs, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                  {scratch.view().data, bytes - 1}),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
  FAIL_CALL(duet_distance_backward(context, &inputs,
                                   sized<duet_distance_gradients>({.distances = duet_matrix{},
                                                                   .grad_distances = out.matrix(),
                                                                   .grad_x = duet_matrix{},
                                                                   .grad_y = duet_matrix{}}),
                                   scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "distances: expected 4 x 5, got 0 x 0");
  for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_INNER}) {
    Floats grad(4, 5);
    inputs = inputs_of(pair, metric);
    FAIL_CALL(duet_distance_backward(context, &inputs,
                                     sized<duet_distance_gradients>({.distances = out.matrix(),
                                                                     .grad_distances = grad.matrix(),
                                                                     .grad_x = duet_matrix{},
                                                                     .grad_y = duet_matrix{}}),
                                     scratch.view()),
              DUET_STATUS_INVALID_ARGUMENT, "distances: expected null for a metric that does not read them");
  }
  FAIL_CALL(duet_distance_workspace(context, &inputs, nullptr), DUET_STATUS_INVALID_ARGUMENT, "bytes: null");
  inputs.y = narrow.matrix();
  FAIL_CALL(duet_distance_forward(context, &inputs, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                  scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.y: expected any x 3, got 5 x 2");
  inputs = inputs_of(pair, DUET_METRIC_EUCLIDEAN);
  const int unknown = 9;
  std::memcpy(&inputs.metric, &unknown, sizeof unknown);
  FAIL_CALL(duet_distance_forward(context, &inputs, sized<duet_distance_outputs>({.distances = out.matrix()}),
                                  scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.metric: unknown value 9");
}
