#include "tests/reference/cross_entropy.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

struct Problem {
  Floats logits, targets, weight;
};

Problem draw_problem(uint64_t seed, int64_t rows, int64_t classes, double deviation, int64_t padding) {
  Draw draw(seed);
  Problem problem{draw.normals(rows, classes, deviation, padding), Floats(rows, classes, padding),
                  draw.normals(rows, 1)};
  problem.targets.assign(draw.distributions(rows, classes).values());
  for (int64_t c = 0; rows > 2 && c < classes; ++c) problem.targets.at(2, c) = 0;  // a row without target
  return problem;
}

Floats losses(Problem& problem, int threads) {
  Floats out(problem.logits.rows(), 1);
  SUCCEED_CALL(duet_cross_entropy_forward(
      Context(threads),
      sized<duet_cross_entropy_inputs>({.logits = problem.logits.matrix(), .targets = problem.targets.matrix()}),
      sized<duet_cross_entropy_outputs>({.row_loss = out.vector()})));
  return out;
}

Floats gradient(Problem& problem, const Floats& before, int threads) {
  Floats out = before;
  SUCCEED_CALL(duet_cross_entropy_backward(
      Context(threads),
      sized<duet_cross_entropy_inputs>({.logits = problem.logits.matrix(), .targets = problem.targets.matrix()}),
      sized<duet_cross_entropy_gradients>({.row_weight = problem.weight.vector(), .grad_logits = out.matrix()})));
  return out;
}

}  // namespace

TEST_CASE("cross-entropy agrees with the double reference") {
  struct Shape {
    int64_t rows, classes;
    double deviation;
    int64_t padding;
  };
  for (const Shape& shape :
       {Shape{0, 3, 1, 0}, Shape{1, 1, 1, 0}, Shape{1, 7, 3, 2}, Shape{67, 10, 3, 0}, Shape{129, 13, 300, 5},
        Shape{2100, 5, 2, 1}, Shape{9, 12, 2, 4}, Shape{5, 2100, 2, 0}, Shape{3, 2051, 2, 1}}) {
    if (!affordable(shape.rows * (20 * shape.classes + 3000))) continue;
    CAPTURE(shape.rows);
    Problem problem = draw_problem(3, shape.rows, shape.classes, shape.deviation, shape.padding);
    const Doubles z = problem.logits.values(), q = problem.targets.values(), w = problem.weight.values();
    // Computed in double: what is left is the rounding of the result, and of the sum into the gradient.
    const Floats loss = losses(problem, 1);
    check_relative(loss.values(), reference::cross_entropy(z, q, shape.rows, shape.classes), 1e-7, "row_loss");
    const Floats before = Draw(4).normals(shape.rows, shape.classes, 1, shape.padding);
    Doubles expected = reference::cross_entropy_gradient(z, q, w, shape.rows, shape.classes);
    const Doubles start = before.values();
    for (size_t k = 0; k < expected.size(); ++k) expected[k] += start[k];
    const Floats grad = gradient(problem, before, 1);
    check_relative(grad.values(), expected, 1.2e-7, "grad_logits");
    for (const int threads : other_thread_counts()) {
      CHECK(losses(problem, threads).same_bits(loss));
      CHECK(gradient(problem, before, threads).same_bits(grad));
    }
  }
}

TEST_CASE("cross-entropy's reference gradient agrees with central differences") {
  Problem problem = draw_problem(5, 6, 4, 1.5, 0);
  const Doubles z = problem.logits.values(), q = problem.targets.values(), w = problem.weight.values();
  const auto total = [&](const Doubles& x) {
    double sum = 0;
    const Doubles loss = reference::cross_entropy(x, q, 6, 4);
    for (size_t i = 0; i < loss.size(); ++i) sum += w[i] * loss[i];
    return sum;
  };
  check_close(reference::cross_entropy_gradient(z, q, w, 6, 4), central_differences(total, z), 1e-8,
              "reference gradient");
}

TEST_CASE("cross-entropy agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    const auto weights = golden.load("ta");
    Problem problem{golden.load("logits").array(), golden.load("Qa").array(), Floats(weights.rows, 1)};
    const double n = static_cast<double>(weights.rows);
    for (int64_t i = 0; i < weights.rows; ++i)
      problem.weight.at(i) = static_cast<float>(weights.values[static_cast<size_t>(i)] / n);
    const Floats loss = losses(problem, 2);
    double sum = 0;
    for (int64_t i = 0; i < loss.rows(); ++i) sum += double{loss.at(i)} * weights.values[static_cast<size_t>(i)] / n;
    check_relative({sum}, golden.load("cross_entropy_loss").values, 1e-6, "loss", 1e-7);
    Floats zero(problem.logits.rows(), problem.logits.columns());
    check_relative(gradient(problem, zero.fill(0), 2).values(), golden.load("cross_entropy_dlogits").values, 1e-6,
                   "gradient", 1e-9);
  }
}

TEST_CASE("confident and hopeless rows of a cross-entropy keep their relative accuracy") {
  const int64_t classes = 7;
  for (const double x : {7.0, 17.0, 30.0, 80.0, 0.0, -7.0, -80.0, 700.0}) {
    CAPTURE(x);
    Problem problem{Floats(4, classes), Floats(4, classes), Floats(4, 1).fill(1)};
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t c = 0; c < classes; ++c) {
        problem.logits.at(i, c) = c == 2 ? static_cast<float>(x) : 0.25f * static_cast<float>(c);
        // One-hot on the class of x and on another, one nearly so, one spread out.
        problem.targets.at(i, c) = i == 0 ? c == 2 : i == 1 ? c == 5 : i == 2 ? (c == 2 ? 1.0f : 1e-9f) : 0.125f;
      }
    const Doubles z = problem.logits.values(), q = problem.targets.values(), w = problem.weight.values();
    // In double to the result's rounding; what lies below float32's smallest normal number has fewer digits.
    check_each(losses(problem, 1).values(), reference::cross_entropy(z, q, 4, classes), 1e-7, "row_loss", 1e-45);
    Floats zero(4, classes);
    check_each(gradient(problem, zero.fill(0), 1).values(), reference::cross_entropy_gradient(z, q, w, 4, classes),
               1e-7, "grad_logits", 1e-45);
    problem.weight.fill(0);  // takes no part, though its logits be NaN
    problem.logits.fill(std::numeric_limits<double>::quiet_NaN());
    CHECK(largest(gradient(problem, zero, 1).values()) == 0);
  }
}

TEST_CASE("cross-entropy at the edges") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  Problem problem{Floats(6, 3), Floats(6, 3), Floats(6, 1)};
  problem.logits.assign({1, nan, 2, -inf, 0, 1, 1e30, -1e30, 0, 0, 1, 2, -inf, 3, 4, -inf, -inf, -inf});
  problem.targets.assign({1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0});
  problem.weight.fill(1);
  const Floats loss = losses(problem, 1);
  CHECK(std::isnan(loss.at(0)));  // NaN in, NaN out
  CHECK(loss.at(1) == doctest::Approx(std::log(1 + std::exp(1.0))));
  CHECK(loss.at(2) == 0);
  CHECK(loss.at(3) == 0);  // a row without target
  CHECK(loss.at(4) == inf);
  CHECK(std::isnan(loss.at(5)));
  Floats zero(6, 3);
  const Floats grad = gradient(problem, zero.fill(0), 1);
  CHECK(std::isnan(grad.at(0, 0)));
  CHECK(grad.at(1, 0) == 0);
  for (int64_t c = 0; c < 3; ++c) CHECK((grad.at(2, c) == 0 && grad.at(3, c) == 0));
  CHECK(grad.at(4, 0) == -1);
}

TEST_CASE("cross-entropy of several logits at once has the bits of one after another") {
  struct Shape {
    int64_t rows, classes, count, padding;
  };
  for (const Shape& shape : {Shape{0, 3, 2, 0}, Shape{1, 1, 1, 0}, Shape{128, 10, 2, 0}, Shape{131, 12, 4, 0},
                             Shape{67, 12, 3, 4}, Shape{5, 2100, 2, 0}}) {
    if (!affordable(2 * shape.count * shape.rows * (20 * shape.classes + 3000))) continue;
    CAPTURE(shape.rows);
    std::vector<Problem> problems;
    std::vector<duet_const_matrix> logits;
    std::vector<duet_matrix> grads;
    std::vector<duet_vector> row_loss;
    std::vector<duet_const_vector> row_weight;
    std::vector<Floats> losses_at_once, grads_at_once;
    const Floats before = Draw(8).normals(shape.rows, shape.classes, 1, shape.padding);
    for (int64_t k = 0; k < shape.count; ++k) {
      problems.push_back(draw_problem(static_cast<uint64_t>(40 + k), shape.rows, shape.classes, 3, shape.padding));
      problems.back().targets = problems[0].targets;
      losses_at_once.emplace_back(shape.rows, 1), grads_at_once.push_back(before);
      if (k == 1 && shape.rows > 0) problems.back().weight.at(0) = 0;
    }
    for (size_t k = 0; k < problems.size(); ++k) {
      logits.push_back(problems[k].logits.matrix()), row_weight.push_back(problems[k].weight.vector());
      row_loss.push_back(losses_at_once[k].vector()), grads.push_back(grads_at_once[k].matrix());
    }
    Context context(2);
    const duet_matrix targets = problems[0].targets.matrix();
    SUCCEED_CALL(duet_cross_entropy_forward_all(
        context,
        sized<duet_cross_entropy_all_inputs>({.logits = logits.data(), .count = shape.count, .targets = targets}),
        sized<duet_cross_entropy_all_outputs>({.row_loss = row_loss.data()})));
    SUCCEED_CALL(duet_cross_entropy_backward_all(
        context,
        sized<duet_cross_entropy_all_inputs>({.logits = logits.data(), .count = shape.count, .targets = targets}),
        sized<duet_cross_entropy_all_gradients>({.row_weight = row_weight.data(), .grad_logits = grads.data()})));
    for (size_t k = 0; k < problems.size(); ++k) {
      CHECK(losses_at_once[k].same_bits(losses(problems[k], 1)));
      CHECK(grads_at_once[k].same_bits(gradient(problems[k], before, 1)));
    }
  }
}

TEST_CASE("cross-entropy of several logits refuses misuse") {
  Context context;
  Problem a = draw_problem(11, 4, 3, 1, 0), v = draw_problem(12, 4, 3, 1, 0);
  Floats loss_a(4, 1), loss_v(4, 1), grad_a(4, 3), grad_v(4, 3), narrow(4, 2);
  duet_const_matrix logits[] = {a.logits.matrix(), v.logits.matrix()};
  duet_matrix grads[] = {grad_a.matrix(), grad_v.matrix()};
  duet_vector row_loss[] = {loss_a.vector(), loss_v.vector()};
  duet_const_vector row_weight[] = {a.weight.vector(), v.weight.vector()};
  const duet_matrix targets = a.targets.matrix();
  const auto forward = [&](int64_t count, const std::string& part) {
    FAIL_CALL(duet_cross_entropy_forward_all(
                  context, sized<duet_cross_entropy_all_inputs>({.logits = logits, .count = count, .targets = targets}),
                  sized<duet_cross_entropy_all_outputs>({.row_loss = row_loss})),
              DUET_STATUS_INVALID_ARGUMENT, part);
  };
  const auto backward = [&](const std::string& part) {
    FAIL_CALL(duet_cross_entropy_backward_all(
                  context, sized<duet_cross_entropy_all_inputs>({.logits = logits, .count = 2, .targets = targets}),
                  sized<duet_cross_entropy_all_gradients>({.row_weight = row_weight, .grad_logits = grads})),
              DUET_STATUS_INVALID_ARGUMENT, part);
  };
  for (const int64_t count : {-1, 0, 5}) forward(count, "count: expected 1 to 4, got " + std::to_string(count));
  row_loss[1] = row_loss[0];
  forward(2, "row_loss[1]: shares memory with outputs.row_loss[0]");
  row_loss[1].size = 3;
  forward(2, "row_loss[1]: expected 4 elements, got 3");
  grads[1] = grads[0];
  backward("grad_logits[1]: shares memory with gradients.grad_logits[0]");
  grads[1] = narrow.matrix();
  backward("grad_logits[1]: expected 4 x 3, got 4 x 2");
  row_weight[0].size = 3;
  backward("row_weight[0]: expected 4 elements, got 3");
  logits[1] = narrow.matrix();
  forward(2, "logits[1]: expected 4 x 3, got 4 x 2");
  FAIL_CALL(
      duet_cross_entropy_forward_all(context, sized<duet_cross_entropy_all_inputs>({.count = 2, .targets = targets}),
                                     sized<duet_cross_entropy_all_outputs>({.row_loss = row_loss})),
      DUET_STATUS_INVALID_ARGUMENT, "logits: null for 2 views");
  FAIL_CALL(duet_cross_entropy_forward_all(
                context, sized<duet_cross_entropy_all_inputs>({.logits = logits, .count = 2, .targets = targets}),
                sized<duet_cross_entropy_all_outputs>({})),
            DUET_STATUS_INVALID_ARGUMENT, "row_loss: null for 2 views");
  FAIL_CALL(duet_cross_entropy_backward_all(
                context, sized<duet_cross_entropy_all_inputs>({.logits = logits, .count = 2, .targets = targets}),
                sized<duet_cross_entropy_all_gradients>({.grad_logits = grads})),
            DUET_STATUS_INVALID_ARGUMENT, "row_weight: null for 2 views");
  FAIL_CALL(duet_cross_entropy_backward_all(
                context, sized<duet_cross_entropy_all_inputs>({.logits = logits, .count = 2, .targets = targets}),
                sized<duet_cross_entropy_all_gradients>({.row_weight = row_weight})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_logits: null for 2 views");
  FAIL_CALL(duet_cross_entropy_forward_all(
                nullptr, sized<duet_cross_entropy_all_inputs>({.logits = logits, .count = 1, .targets = targets}),
                sized<duet_cross_entropy_all_outputs>({.row_loss = row_loss})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
}

TEST_CASE("cross-entropy refuses misuse") {
  Context context;
  Problem problem = draw_problem(6, 4, 3, 1, 0);
  Floats loss(4, 1), short_loss(3, 1), grad(4, 3), narrow(4, 2);
  FAIL_CALL(
      duet_cross_entropy_forward(
          context, sized<duet_cross_entropy_inputs>({.logits = problem.logits.matrix(), .targets = narrow.matrix()}),
          sized<duet_cross_entropy_outputs>({.row_loss = loss.vector()})),
      DUET_STATUS_INVALID_ARGUMENT, "targets: expected 4 x 3, got 4 x 2");
  FAIL_CALL(duet_cross_entropy_forward(context,
                                       sized<duet_cross_entropy_inputs>(
                                           {.logits = problem.logits.matrix(), .targets = problem.targets.matrix()}),
                                       sized<duet_cross_entropy_outputs>({.row_loss = short_loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "row_loss: expected 4 elements, got 3");
  FAIL_CALL(
      duet_cross_entropy_backward(
          context,
          sized<duet_cross_entropy_inputs>({.logits = problem.logits.matrix(), .targets = problem.targets.matrix()}),
          sized<duet_cross_entropy_gradients>({.row_weight = short_loss.vector(), .grad_logits = grad.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "row_weight: expected 4 elements, got 3");
  FAIL_CALL(
      duet_cross_entropy_backward(
          context,
          sized<duet_cross_entropy_inputs>({.logits = problem.logits.matrix(), .targets = problem.targets.matrix()}),
          sized<duet_cross_entropy_gradients>({.row_weight = loss.vector(), .grad_logits = narrow.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "grad_logits: expected 4 x 3, got 4 x 2");
  FAIL_CALL(duet_cross_entropy_forward(nullptr,
                                       sized<duet_cross_entropy_inputs>(
                                           {.logits = problem.logits.matrix(), .targets = problem.targets.matrix()}),
                                       sized<duet_cross_entropy_outputs>({.row_loss = loss.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
}
