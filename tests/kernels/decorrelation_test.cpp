#include "tests/reference/decorrelation.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

struct Problem {
  Floats a, v;

  duet_decorrelation_inputs inputs() {
    duet_decorrelation_inputs in = DUET_DECORRELATION_INPUTS_INIT;
    in.a = a.matrix(), in.v = v.matrix();
    return in;
  }
};

// Columns that share a part, so that there is something to decorrelate.
Problem draw_problem(uint64_t seed, int64_t n, int64_t d, int64_t padding) {
  Draw draw(seed);
  Problem problem{draw.normals(n, d, 1, padding), draw.normals(n, d, 0.3, padding)};
  for (int64_t i = 0; i < n; ++i) {
    const double shared = draw.normal();
    for (int64_t k = 0; k < d; ++k) {
      problem.a.at(i, k) += static_cast<float>(0.5 * shared + 0.1 * static_cast<double>(k));
      problem.v.at(i, k) += static_cast<float>(k % 3 == 0 ? shared : -0.2 * shared);
    }
  }
  return problem;
}

double loss_of(Problem& problem, int threads) {
  Context context(threads);
  const auto inputs = problem.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_decorrelation_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  Floats loss(1, 1);
  SUCCEED_CALL(duet_decorrelation_forward(context, &inputs, sized<duet_decorrelation_outputs>({.loss = loss.vector()}),
                                          scratch.view()));
  return loss.at(0);
}

struct Gradients {
  Floats a, v;
};

Gradients gradients_of(Problem& problem, float upstream, const Gradients& before, int threads) {
  Context context(threads);
  const auto inputs = problem.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_decorrelation_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  Floats weight(1, 1);
  weight.at(0) = upstream;
  Gradients out = before;
  SUCCEED_CALL(duet_decorrelation_backward(
      context, &inputs,
      sized<duet_decorrelation_gradients>(
          {.grad_loss = weight.vector(), .grad_a = out.a.matrix(), .grad_v = out.v.matrix()}),
      scratch.view()));
  // Either alone gives the same.
  Gradients alone = before;
  SUCCEED_CALL(duet_decorrelation_backward(
      context, &inputs,
      sized<duet_decorrelation_gradients>(
          {.grad_loss = weight.vector(), .grad_a = alone.a.matrix(), .grad_v = duet_matrix{}}),
      scratch.view()));
  SUCCEED_CALL(duet_decorrelation_backward(
      context, &inputs,
      sized<duet_decorrelation_gradients>(
          {.grad_loss = weight.vector(), .grad_a = duet_matrix{}, .grad_v = alone.v.matrix()}),
      scratch.view()));
  CHECK((alone.a.same_bits(out.a) && alone.v.same_bits(out.v)));
  return out;
}

Gradients zeros(int64_t n, int64_t d) {
  Gradients out{Floats(n, d), Floats(n, d)};
  out.a.fill(0), out.v.fill(0);
  return out;
}

// Standardised columns and R are rounded to float32: 1e-6 of the largest R and of the gradient's largest entry covers
// the sums over the batch.
constexpr double kTolerance = 2e-6;

}  // namespace

TEST_CASE("decorrelation agrees with the double reference") {
  struct Shape {
    int64_t n, d, padding;
  };
  for (const Shape& shape : {Shape{0, 3, 0}, Shape{1, 4, 0}, Shape{5, 1, 1}, Shape{2, 2, 0}, Shape{37, 13, 2},
                             Shape{128, 64, 0}, Shape{67, 131, 3}, Shape{2100, 11, 0}, Shape{256, 17, 1},
                             Shape{257, 16, 0}, Shape{9, 256, 0}, Shape{9, 257, 0}}) {
    CAPTURE(shape.n);
    CAPTURE(shape.d);
    Problem problem = draw_problem(1, shape.n, shape.d, shape.padding);
    const Doubles a = problem.a.values(), v = problem.v.values();
    const double loss = loss_of(problem, 1);
    check_close({loss}, {reference::decorrelation(a, v, shape.n, shape.d)}, kTolerance, "loss");
    Gradients zero{Floats(shape.n, shape.d, shape.padding), Floats(shape.n, shape.d, shape.padding)};
    zero.a.fill(0), zero.v.fill(0);
    const Gradients grad = gradients_of(problem, 1.5f, zero, 1);
    Doubles expected_a = reference::decorrelation_gradient(a, v, shape.n, shape.d),
            expected_v = reference::decorrelation_gradient(v, a, shape.n, shape.d);
    for (double& g : expected_a) g *= 1.5;
    for (double& g : expected_v) g *= 1.5;
    // Two samples standardise to +-1, whatever they are: the true gradient is the rounding left over by a difference of
    // entries near 1.
    const double floor = shape.n <= 2 ? 1e-6 : 1e-12;
    check_relative(grad.a.values(), expected_a, kTolerance, "grad_a", floor);
    check_relative(grad.v.values(), expected_v, kTolerance, "grad_v", floor);
    for (const int threads : other_thread_counts()) {
      CHECK(loss_of(problem, threads) == loss);
      const Gradients again = gradients_of(problem, 1.5f, zero, threads);
      CHECK((again.a.same_bits(grad.a) && again.v.same_bits(grad.v)));
    }
  }
}

TEST_CASE("decorrelation's gradient adds to what is there") {
  Problem problem = draw_problem(2, 40, 9, 0);
  const Gradients fresh = gradients_of(problem, 1, zeros(40, 9), 2);
  Draw draw(3);
  const Gradients before{draw.normals(40, 9, 1e-3), draw.normals(40, 9, 1e-3)};
  const Gradients sum = gradients_of(problem, 1, before, 2);
  for (int64_t i = 0; i < 40; ++i)
    for (int64_t k = 0; k < 9; ++k) {
      CHECK(sum.a.at(i, k) == before.a.at(i, k) + fresh.a.at(i, k));
      CHECK(sum.v.at(i, k) == before.v.at(i, k) + fresh.v.at(i, k));
    }
}

TEST_CASE("decorrelation's reference gradient agrees with central differences") {
  Problem problem = draw_problem(4, 7, 3, 0);
  const Doubles a = problem.a.values(), v = problem.v.values();
  check_close(reference::decorrelation_gradient(a, v, 7, 3),
              central_differences([&](const Doubles& x) { return reference::decorrelation(x, v, 7, 3); }, a), 1e-8,
              "dA");
  check_close(reference::decorrelation_gradient(v, a, 7, 3),
              central_differences([&](const Doubles& x) { return reference::decorrelation(a, x, 7, 3); }, v), 1e-8,
              "dV");
}

TEST_CASE("decorrelation agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    if (!golden.has("decorrelation_loss")) continue;
    CAPTURE(golden.name());
    Problem problem{golden.load("A").array(), golden.load("V").array()};
    check_close({loss_of(problem, 2)}, golden.load("decorrelation_loss").values, kTolerance, "loss");
    const Gradients grad = gradients_of(problem, 1, zeros(problem.a.rows(), problem.a.columns()), 2);
    check_relative(grad.a.values(), golden.load("decorrelation_dA").values, kTolerance, "dA", 1e-12);
    check_relative(grad.v.values(), golden.load("decorrelation_dV").values, kTolerance, "dV", 1e-12);
  }
}

TEST_CASE("decorrelation at the edges") {
  Problem problem = draw_problem(5, 20, 4, 0);
  for (int64_t i = 0; i < 20; ++i)
    problem.a.at(i, 1) = 3;  // a constant column: standardised 0, no gradient to speak of
  CHECK(std::isfinite(loss_of(problem, 1)));
  for (int64_t i = 0; i < 20; ++i) problem.a.at(i, 2) *= 1e15f;
  const double huge = loss_of(problem, 1);
  check_close({huge}, {reference::decorrelation(problem.a.values(), problem.v.values(), 20, 4)}, kTolerance,
              "huge columns");
  problem.v.at(3, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(loss_of(problem, 1)));
  const Gradients grad = gradients_of(problem, 1, zeros(20, 4), 1);
  CHECK(std::isnan(grad.v.at(0, 0)));
  CHECK(std::isnan(grad.a.at(5, 1)));
}

TEST_CASE("decorrelation refuses misuse") {
  Context context;
  Problem problem = draw_problem(6, 5, 3, 0);
  const auto inputs = problem.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_decorrelation_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  Floats loss(1, 1), two(2, 1), narrow(5, 2);
  FAIL_CALL(duet_decorrelation_forward(context, &inputs, sized<duet_decorrelation_outputs>({.loss = loss.vector()}),
                                       {scratch.view().data, bytes - 1}),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
  FAIL_CALL(duet_decorrelation_forward(context, &inputs, sized<duet_decorrelation_outputs>({.loss = two.vector()}),
                                       scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "loss: expected 1 elements, got 2");
  FAIL_CALL(duet_decorrelation_forward(context, nullptr, sized<duet_decorrelation_outputs>({.loss = loss.vector()}),
                                       scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_decorrelation_forward(nullptr, &inputs, sized<duet_decorrelation_outputs>({.loss = loss.vector()}),
                                       scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(
      duet_decorrelation_backward(context, &inputs,
                                  sized<duet_decorrelation_gradients>(
                                      {.grad_loss = loss.vector(), .grad_a = narrow.matrix(), .grad_v = duet_matrix{}}),
                                  scratch.view()),
      DUET_STATUS_INVALID_ARGUMENT, "grad_a: expected 5 x 3, got 5 x 2");
  auto wrong = inputs;
  wrong.v.rows = 4;
  FAIL_CALL(duet_decorrelation_forward(context, &wrong, sized<duet_decorrelation_outputs>({.loss = loss.vector()}),
                                       scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.v: expected 5 x 3, got 4 x 3");
  wrong = inputs;
  wrong.eps = -1e-5f;
  FAIL_CALL(duet_decorrelation_workspace(context, &wrong, &bytes), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.eps: expected a positive number, or 0 for the default, got -1e-05");
}
