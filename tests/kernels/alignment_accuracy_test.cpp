// Alignment where scores are huge, rows confident, or a weight is 0.
#include "tests/kernels/alignment_problem.h"

using namespace duet::test;
using namespace duet::test::alignment;
namespace reference = duet::reference;

namespace {

constexpr int kThreads = 2;

// Added to nothing.
Gradients backward(Problem& problem, Sums sums, Sums weights) {
  const int64_t d = problem.d();
  return backward(problem, std::move(sums), std::move(weights), kThreads,
                  {Floats(problem.n(), d).fill(0), Floats(problem.m(), d).fill(0), Floats(1, 1).fill(0)});
}

Floats identity(int64_t n) {
  Floats one(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) one.at(i, j) = i == j;
  return one;
}

}  // namespace

TEST_CASE("alignment of rows of norm 1e5 has the log-sum-exps of its scores") {
  const int64_t n = 40, m = 33, d = 5;
  Draw draw(81);
  Floats a = draw.unit_rows(n, d), v = draw.unit_rows(m, d);
  for (Floats* rows : {&a, &v})
    for (int64_t i = 0; i < rows->rows(); ++i)
      for (int64_t k = 0; k < d; ++k) rows->at(i, k) *= 1e5f;
  for (const float scale : values_of({3.7f, -3.7f, 1e-3f, 1e20f, 1e-30f, 1e-38f, 0.0f})) {
    CAPTURE(scale);
    Problem problem{a, v, scale};
    const Sums sums = forward(problem);
    // An inner product is off by 1e-6 of its rows' norms; log m is all there is where the scale is tiny.
    const double floor = 2e-6 * (std::abs(scale) * 1e10 + 1);
    check_close(sums.row.values(), reference::log_sum_exp_rows(problem.scores(), n, m), floor, "lse_row");
    check_close(sums.column.values(), reference::log_sum_exp_rows(reference::transposed(problem.scores(), n, m), m, n),
                floor, "lse_column");
    Sums weights{draw.normals(n, 1), draw.normals(m, 1)};
    const Gradients after = backward(problem, sums, weights);
    for (const Doubles& values : {after.a.values(), after.v.values(), after.scale.values()})
      for (const double value : values) CHECK(std::isfinite(value));
    Call call(problem, kThreads);
    Floats p(n, m);
    Sums copy = sums;
    SUCCEED_CALL(duet_alignment_probabilities(
        call.context, &call.inputs,
        sized<duet_alignment_probabilities_outputs>({.lse_row = copy.row.vector(), .probabilities = p.matrix()}),
        call.scratch->view()));
    for (const double value : p.values()) CHECK((value >= 0 && value <= 1));
  }
}

TEST_CASE("the gradient of a confident row's probabilities keeps its relative accuracy") {
  const int64_t n = 9;
  for (const double x : values_of({0.5, 7.0, 17.0, 30.0, 80.0})) {
    CAPTURE(x);
    Problem problem{Floats(n, n), identity(n), 1};
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        problem.a.at(i, j) = i == j ? static_cast<float>(x) : -0.25f * static_cast<float>((7 * i + 3 * j) % 5);
    Draw draw(82);
    Floats grad_p = draw.normals(n, n), p(n, n);
    Sums sums = forward(problem);
    Call call(problem, kThreads);
    SUCCEED_CALL(duet_alignment_probabilities(
        call.context, &call.inputs,
        sized<duet_alignment_probabilities_outputs>({.lse_row = sums.row.vector(), .probabilities = p.matrix()}),
        call.scratch->view()));
    Gradients out{Floats(n, n).fill(0), Floats(n, n).fill(0), Floats(1, 1).fill(0)};
    SUCCEED_CALL(duet_alignment_probabilities_backward(
        call.context, &call.inputs,
        sized<duet_alignment_probabilities_gradients>({.probabilities = p.matrix(),
                                                       .grad_probabilities = grad_p.matrix(),
                                                       .grad_a = out.a.matrix(),
                                                       .grad_v = out.v.matrix(),
                                                       .grad_scale = out.scale.vector()}),
        call.scratch->view()));
    // P_ij sum_k P_ik (dP_ij - dP_ik), from the probabilities that were stored
    Doubles expected, parts;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double value = 0, size = 0;
        for (int64_t k = 0; k < n; ++k) {
          const double term = double{p.at(i, j)} * p.at(i, k) * (double{grad_p.at(i, j)} - grad_p.at(i, k));
          value += term, size += std::abs(term);
        }
        // The largest P's own gradient is the sum of the others' terms; of the others' own it is one term that counts.
        expected.push_back(value), parts.push_back(size);
      }
    check_parts(out.a.values(), expected, parts, 1e-5, "grad_a", 1e-37);
  }
}

TEST_CASE("no probability of huge scores exceeds 1 in alignment's gradient") {
  // Scores near 1e9, 59 apart: their log-sum-exps are rounded by up to 32.
  for (int step = 0; step < 40; step += device.every_value ? 1 : 13) {
    CAPTURE(step);
    const float base = 16000 + 0.25f * static_cast<float>(step);
    Problem problem{Floats(2, 1).fill(base), Floats(2, 1).fill(base), 3.7f};
    problem.a.at(1, 0) = base + 0.001f;
    const Gradients out = backward(problem, forward(problem), {Floats(2, 1).fill(1), Floats(2, 1).fill(1)});
    // Two probabilities a pair, two pairs a row.
    const double largest = 4.001 * 3.7 * (base + 1);
    for (const Doubles& values : {out.a.values(), out.v.values()})
      for (const double value : values) CHECK(std::abs(value) <= largest);
  }
}

TEST_CASE("an impossible pair adds nothing to the scale's gradient of stored probabilities") {
  const int64_t n = 3, m = 4;
  Problem problem{Floats(n, 1).fill(1e10), Floats(m, 1), 1};
  for (int64_t j = 0; j < m; ++j)
    problem.v.at(j, 0) = j == 2 ? -1e30f : 1e-10f * static_cast<float>(j);  // its product is -inf
  Draw draw(84);
  Floats grad_p = draw.normals(n, m), p(n, m);
  Sums sums = forward(problem);
  Call call(problem, kThreads);
  SUCCEED_CALL(duet_alignment_probabilities(
      call.context, &call.inputs,
      sized<duet_alignment_probabilities_outputs>({.lse_row = sums.row.vector(), .probabilities = p.matrix()}),
      call.scratch->view()));
  Floats grad_scale = Floats(1, 1).fill(0);
  SUCCEED_CALL(duet_alignment_probabilities_backward(
      call.context, &call.inputs,
      sized<duet_alignment_probabilities_gradients>(
          {.probabilities = p.matrix(), .grad_probabilities = grad_p.matrix(), .grad_scale = grad_scale.vector()}),
      call.scratch->view()));
  double expected = 0;
  for (int64_t i = 0; i < n; ++i) {
    CHECK(p.at(i, 2) == 0);
    for (int64_t j = 0; j < m; ++j)
      for (int64_t k = 0; k < m; ++k)
        if (j != 2)
          expected +=
              double{p.at(i, j)} * p.at(i, k) * (double{grad_p.at(i, j)} - grad_p.at(i, k)) * 1e10 * problem.v.at(j, 0);
  }
  CHECK(std::abs(grad_scale.at(0) - expected) <= 1e-5);
}

TEST_CASE("what has no weight takes no part in alignment's gradient, though its sums be infinite or NaN") {
  const int64_t n = 5, d = 2;
  for (const bool by_column : {false, true})
    for (const float bad :
         values_of({-1e30f, 1e30f, std::numeric_limits<float>::quiet_NaN()})) {  // products of -inf, inf and NaN
      CAPTURE(bad);
      CAPTURE(by_column);
      Draw draw(83);
      Problem problem{draw.unit_rows(n, d), Floats(n, d), 10};
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < d; ++k)
          problem.v.at(i, k) = 1e9f * static_cast<float>(1 + i), problem.a.at(i, k) *= 1e-9f;
      if (by_column) std::swap(problem.a, problem.v);
      Problem clean = problem;
      Floats& spoiled = by_column ? problem.v : problem.a;
      for (int64_t k = 0; k < d; ++k) spoiled.at(2, k) = bad;
      Sums weights{Floats(n, 1).fill(by_column ? 0 : 1), Floats(n, 1).fill(by_column ? 1 : 0)};
      (by_column ? weights.column : weights.row).at(2) = 0;
      const Gradients expected = backward(clean, forward(clean), weights),
                      after = backward(problem, forward(problem), weights);
      // Float32 sums with other shifts.
      check_relative(by_column ? after.v.values() : after.a.values(),
                     by_column ? expected.v.values() : expected.a.values(), 2e-6, "its side");
      check_relative(after.scale.values(), expected.scale.values(), 1e-5, "grad_scale");
      if (!std::isnan(bad))
        check_relative(by_column ? after.a.values() : after.v.values(),
                       by_column ? expected.a.values() : expected.v.values(), 2e-6, "other side");
      if (bad > 0 || std::isnan(bad)) continue;
      // A row that is impossible for every column leaves them as they are.
      (by_column ? weights.row : weights.column).fill(0.5);
      for (const double value : backward(problem, forward(problem), weights).a.values()) CHECK(std::isfinite(value));
    }
}
