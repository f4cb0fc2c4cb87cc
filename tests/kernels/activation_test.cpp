#include "tests/reference/activation.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

constexpr duet_activation_kind kKinds[] = {DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_TANH,
                                           DUET_ACTIVATION_KIND_GELU};
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Shape {
  int64_t rows, columns, padding;
};
// Runs below and beyond a vector and a work item (16384 and 65536 elements), flat and with gaps, long rows with gaps.
const Shape kShapes[] = {{0, 3, 0},   {3, 0, 0},     {1, 1, 0},     {7, 5, 3},
                         {13, 67, 0}, {300, 257, 0}, {300, 257, 3}, {2, 70001, 1}};

duet_activation_inputs inputs_of(duet_activation_kind kind, Floats& x) {
  duet_activation_inputs inputs = DUET_ACTIVATION_INPUTS_INIT;
  inputs.kind = kind;
  inputs.x = x.matrix();
  return inputs;
}

Doubles values_of(duet_activation_kind kind, const Doubles& x) {
  Doubles y;
  for (const double value : x) y.push_back(reference::activation(kind, value));
  return y;
}

// Relative to values above 1e-3: gelu's tail multiplies five operations and an exponential (6e-8 and 1.2e-7 each) and
// rounds an exponent of up to 7 (2.4e-7). Written as x (1 + erf(x / sqrt 2)) / 2 in float32 it would lose 1e-5 there.
constexpr double kRelative = 7e-7;

// Errors relative to the larger of the expected value and floor.
void check_scaled(const Doubles& actual, const Doubles& expected, double floor, double tolerance,
                  const std::string& what) {
  Doubles a = actual, e = expected;
  for (size_t k = 0; k < a.size(); ++k) {
    const double scale = std::max(std::abs(expected[k]), floor);
    if (std::isfinite(scale)) a[k] /= scale, e[k] /= scale;
  }
  check_close(a, e, tolerance, what);
}

}  // namespace

TEST_CASE("activations match the reference over the whole line") {
  std::vector<float> points = {0.0f,
                               -0.0f,
                               1e-40f,
                               -1e-40f,
                               1e-20f,
                               -1e-20f,
                               1e30f,
                               -1e30f,
                               3e38f,
                               -3e38f,
                               kInf,
                               -kInf,
                               static_cast<float>(kNaN)};
  for (int k = -20000; k <= 20000; ++k) points.push_back(static_cast<float>(k) * 1e-3f * 1.0001f);
  Floats x(static_cast<int64_t>(points.size()), 1);
  std::copy(points.begin(), points.end(), x.data());
  Context context;
  for (const duet_activation_kind kind : kKinds) {
    CAPTURE(kind);
    const duet_activation_inputs inputs = inputs_of(kind, x);
    Floats y(x.rows(), 1), ones(x.rows(), 1), slope(x.rows(), 1);
    ones.fill(1), slope.fill(0);
    SUCCEED_CALL(duet_activation_forward(context, &inputs, sized<duet_activation_outputs>({.outputs = y.matrix()})));
    SUCCEED_CALL(duet_activation_backward(
        context, &inputs, sized<duet_activation_gradients>({.grad_outputs = ones.matrix(), .grad_x = slope.matrix()})));
    Doubles slopes;
    for (const double value : x.values()) slopes.push_back(reference::activation_slope(kind, value));
    if (kind == DUET_ACTIVATION_KIND_RELU) {
      check_close(y.values(), values_of(kind, x.values()), 0, "relu");
      check_close(slope.values(), slopes, 0, "relu's slope");
    } else {
      check_scaled(y.values(), values_of(kind, x.values()), 1e-3, kRelative, "values");
      // Slopes are at most 1.2, made of five operations and an exponential.
      check_scaled(slope.values(), slopes, 1, 4e-7, "slopes");
    }
  }
}

TEST_CASE("activations: shapes, gaps, in place, += and threads") {
  for (const Shape& shape : kShapes) {
    if (!affordable(30 * shape.rows * shape.columns)) continue;
    for (const duet_activation_kind kind : kKinds) {
      CAPTURE(shape.rows);
      CAPTURE(shape.columns);
      CAPTURE(kind);
      Draw draw(1);
      Floats x = draw.normals(shape.rows, shape.columns, 2, shape.padding),
             g = draw.normals(shape.rows, shape.columns, 1, shape.padding);
      const Floats before = draw.normals(shape.rows, shape.columns, 1, shape.padding);
      const duet_activation_inputs inputs = inputs_of(kind, x);
      Doubles grads = before.values();
      const Doubles xs = x.values(), gs = g.values();
      for (size_t k = 0; k < grads.size(); ++k) grads[k] += gs[k] * reference::activation_slope(kind, xs[k]);
      const auto run = [&](int threads) {
        Context context(threads);
        std::pair out{Floats(shape.rows, shape.columns, shape.padding), before};
        SUCCEED_CALL(
            duet_activation_forward(context, &inputs, sized<duet_activation_outputs>({.outputs = out.first.matrix()})));
        SUCCEED_CALL(duet_activation_backward(
            context, &inputs,
            sized<duet_activation_gradients>({.grad_outputs = g.matrix(), .grad_x = out.second.matrix()})));
        return out;
      };
      const auto first = run(1);
      check_scaled(first.first.values(), values_of(kind, xs), 1e-3, kRelative, "values");
      check_scaled(first.second.values(), grads, 4, 4e-7, "gradients");  // the upstream gradient is up to 4 or 5
      for (const int threads : other_thread_counts()) {
        const auto again = run(threads);
        CHECK(again.first.same_bits(first.first));
        CHECK(again.second.same_bits(first.second));
      }
      Floats place = x;
      const duet_activation_inputs in_place = inputs_of(kind, place);
      SUCCEED_CALL(
          duet_activation_forward(Context(2), &in_place, sized<duet_activation_outputs>({.outputs = place.matrix()})));
      CHECK(place.same_bits(first.first));
    }
  }
}

TEST_CASE("the reference's slopes match central differences") {
  const Doubles x = {-3.1, -0.7, -1e-2, 0.3, 1.9, 4.2};
  for (const duet_activation_kind kind : kKinds) {
    Doubles slopes;
    for (const double value : x) slopes.push_back(reference::activation_slope(kind, value));
    const auto sum = [&](const Doubles& at) {
      double total = 0;
      for (const double value : at) total += reference::activation(kind, value);
      return total;
    };
    check_close(central_differences(sum, x), slopes, 1e-8, "slopes");  // step 1e-6: 1e-9 of a sum near 6
  }
}

namespace {

struct DropoutCase {
  Shape shape;
  float probability;
  uint32_t layer;
  int64_t step, first_row;
};

struct Options {
  Longs step{1, 1};
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;
  explicit Options(const DropoutCase& given, uint64_t seed = 0x0123456789ABCDEF) {
    step.at(0) = given.step;
    options.drop_probability = given.probability;
    options.layer = given.layer;
    options.seed = seed;
    options.step = step.vector();
    options.first_row = given.first_row;
  }
};

}  // namespace

TEST_CASE("dropout drops exactly the words' elements, forward and backward alike") {
  const DropoutCase cases[] = {{{0, 3, 0}, 0.2f, 0, 0, 0},
                               {{3, 0, 0}, 0.2f, 0, 0, 0},
                               {{1, 1, 0}, 0.5f, 0, 1, 3},
                               {{7, 5, 3}, 0.2f, 1, 2, 11},
                               {{13, 67, 0}, 0.9f, 2, 4000000000, 1},
                               {{300, 257, 0}, 0.2f, 0, 3, 5},
                               {{300, 257, 3}, 0.2f, 3, 3, 5},
                               {{2, 40001, 1}, 0.1f, 0, 3, 7},
                               {{128, 256, 0}, 0.2f, 0, 77, int64_t{1} << 40},
                               {{20, 33, 0}, 0.99999994f, 0, 1, 0},
                               {{20, 33, 0}, 0.0f, 0, 1, 0},
                               {{20, 33, 0}, 1e-12f, 16777215, 1, 0}};
  for (const DropoutCase& given : cases) {
    const int64_t rows = given.shape.rows, columns = given.shape.columns, padding = given.shape.padding;
    CAPTURE(rows);
    CAPTURE(columns);
    CAPTURE(given.probability);
    Draw draw(1);
    Floats x = draw.normals(rows, columns, 1, padding);
    const Floats before = draw.normals(rows, columns, 1, padding);
    Options options(given);
    const Doubles factors =
        reference::dropout_factors(given.probability, options.options.seed, given.layer,
                                   static_cast<uint32_t>(given.step), given.first_row, rows, columns);
    Doubles expected = x.values(), expected_grad = before.values();
    for (size_t k = 0; k < expected.size(); ++k) expected[k] *= factors[k], expected_grad[k] += expected[k];
    const auto run = [&](int threads) {
      Context context(threads);
      std::pair out{Floats(rows, columns, padding), before};
      SUCCEED_CALL(duet_dropout_forward(context,
                                        sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &options.options}),
                                        sized<duet_dropout_outputs>({.outputs = out.first.matrix()})));
      SUCCEED_CALL(duet_dropout_backward(
          context, sized<duet_dropout_inputs>({.dropout = &options.options}),
          sized<duet_dropout_gradients>({.grad_outputs = x.matrix(), .grad_x = out.second.matrix()})));
      return out;
    };
    const auto first = run(1);
    // A division and the rounding of 1 - p; then an addition. No normal draw is 0, so a 0 is a dropped element.
    const Doubles outputs = first.first.values();
    check_relative(outputs, expected, 1.2e-7, "outputs");
    check_relative(first.second.values(), expected_grad, 2e-7, "grad_x");
    int64_t different = 0;
    for (size_t k = 0; k < factors.size(); ++k) different += (outputs[k] == 0) != (factors[k] == 0);
    CHECK(different == 0);
    for (const int threads : other_thread_counts()) {
      const auto again = run(threads);
      CHECK(again.first.same_bits(first.first));
      CHECK(again.second.same_bits(first.second));
    }
    Floats place = x;
    SUCCEED_CALL(duet_dropout_forward(Context(2),
                                      sized<duet_dropout_inputs>({.x = place.matrix(), .dropout = &options.options}),
                                      sized<duet_dropout_outputs>({.outputs = place.matrix()})));
    CHECK(place.same_bits(first.first));
  }
}

TEST_CASE("dropout of a part of a batch equals the whole's rows") {
  Draw draw(2);
  Floats x = draw.normals(37, 19), whole(37, 19), parts(37, 19);
  Options options({{37, 19, 0}, 0.3f, 1, 9, 4});
  Context context;
  SUCCEED_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &options.options}),
                                    sized<duet_dropout_outputs>({.outputs = whole.matrix()})));
  for (int64_t row = 0; row < 37;) {
    const int64_t rows = std::min<int64_t>(37 - row, 1 + row % 5);
    duet_dropout_options part = options.options;
    part.first_row += row;
    SUCCEED_CALL(duet_dropout_forward(context,
                                      sized<duet_dropout_inputs>({.x = x.part(row, 0, rows, 19), .dropout = &part}),
                                      sized<duet_dropout_outputs>({.outputs = parts.part(row, 0, rows, 19)})));
    row += rows;
  }
  CHECK(parts.same_bits(whole));
}

TEST_CASE("dropout agrees with the golden words") {
  const auto path = shared_dir() / "reference" / "golden" / "random_words.npy";
  if (!std::filesystem::exists(path)) {
    report_absent(path);
    return;
  }
  // Seed 0x0123456789ABCDEF, stream 5, step 3: elements 0 to 63, then 2^34 to 2^34 + 7.
  const Doubles words = load_golden(path).values;
  Floats x(9, 8), y(9, 8);
  x.fill(1);
  Context context;
  for (const float probability : {0.1f, 0.2f, 0.5f, 0.8f}) {
    Options low({{8, 8, 0}, probability, 0, 3, 0}), high({{1, 8, 0}, probability, 0, 3, int64_t{1} << 31});
    SUCCEED_CALL(duet_dropout_forward(context,
                                      sized<duet_dropout_inputs>({.x = x.part(0, 0, 8, 8), .dropout = &low.options}),
                                      sized<duet_dropout_outputs>({.outputs = y.part(0, 0, 8, 8)})));
    SUCCEED_CALL(duet_dropout_forward(context,
                                      sized<duet_dropout_inputs>({.x = x.part(8, 0, 1, 8), .dropout = &high.options}),
                                      sized<duet_dropout_outputs>({.outputs = y.part(8, 0, 1, 8)})));
    const Doubles outputs = y.values();
    for (size_t k = 0; k < 72; ++k)
      CHECK((outputs[k] == 0) == (words[k] < std::floor(double{probability} * 4294967296.0 + 0.5)));
  }
}

TEST_CASE("dropout keeps NaN where the element is kept and writes 0 where it is dropped") {
  Floats x(1, 1000), y(1, 1000);
  Options options({{1, 1000, 0}, 0.5f, 0, 1, 0});
  const Doubles factors = reference::dropout_factors(0.5f, options.options.seed, 0, 1, 0, 1, 1000);
  SUCCEED_CALL(duet_dropout_forward(Context(1),
                                    sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &options.options}),
                                    sized<duet_dropout_outputs>({.outputs = y.matrix()})));
  for (int64_t k = 0; k < 1000; ++k)
    CHECK((factors[static_cast<size_t>(k)] == 0 ? y.at(0, k) == 0 : std::isnan(y.at(0, k))));
}

TEST_CASE("activation and dropout refuse misuse") {
  Context context;
  Floats x(2, 3), y(2, 3), narrow(2, 2);
  duet_activation_inputs inputs = inputs_of(DUET_ACTIVATION_KIND_TANH, x);
  FAIL_CALL(duet_activation_forward(context, &inputs, sized<duet_activation_outputs>({.outputs = narrow.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "outputs: expected 2 x 3, got 2 x 2");
  FAIL_CALL(
      duet_activation_backward(
          context, &inputs, sized<duet_activation_gradients>({.grad_outputs = narrow.matrix(), .grad_x = y.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_outputs: expected 2 x 3");
  FAIL_CALL(duet_activation_backward(context, &inputs, sized<duet_activation_gradients>({.grad_outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_x: expected 2 x 3, got 0 x 0");
  FAIL_CALL(duet_activation_forward(nullptr, &inputs, sized<duet_activation_outputs>({.outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  inputs.kind = static_cast<duet_activation_kind>(3);
  FAIL_CALL(duet_activation_forward(context, &inputs, sized<duet_activation_outputs>({.outputs = y.matrix()})),
            DUET_STATUS_INVALID_ARGUMENT, "kind: unknown value 3");
  Options options({{2, 3, 0}, 0.2f, 0, 1, 0});
  const auto fails = [&](const duet_dropout_options& given, const char* part) {
    FAIL_CALL(duet_dropout_forward(context, sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &given}),
                                   sized<duet_dropout_outputs>({.outputs = y.matrix()})),
              DUET_STATUS_INVALID_ARGUMENT, part);
    FAIL_CALL(duet_dropout_backward(context, sized<duet_dropout_inputs>({.dropout = &given}),
                                    sized<duet_dropout_gradients>({.grad_outputs = x.matrix(), .grad_x = y.matrix()})),
              DUET_STATUS_INVALID_ARGUMENT, part);
  };
  for (const float probability : {1.0f, -0.1f, static_cast<float>(kNaN)}) {
    duet_dropout_options wrong = options.options;
    wrong.drop_probability = probability;
    fails(wrong, "inputs.dropout.drop_probability: expected 0 to below 1");
  }
  duet_dropout_options wrong = options.options;
  wrong.first_row = -1;
  fails(wrong, "inputs.dropout.first_row");
  wrong = options.options;
  wrong.layer = 1u << 24;
  fails(wrong, "inputs.dropout.layer: expected below 2^24");
  wrong = options.options;
  wrong.step = {};
  fails(wrong, "inputs.dropout.step");
  if (!on_cpu()) return;  // a device takes the low 32 bits as they are
  options.step.at(0) = int64_t{1} << 32;
  fails(options.options, "inputs.dropout.step: expected 0 to below 2^32, got 4294967296");
}
