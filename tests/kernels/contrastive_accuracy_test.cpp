// Gradients and losses of confident and hopeless rows keep their relative accuracy; extreme scales; rows of weight 0.
#include "tests/kernels/contrastive_problem.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

constexpr Variant kSoftmaxVariants[] = {Variant::infonce, Variant::multi_positive, Variant::related};

// v is the identity, so that a holds the scores and grad_a d loss/d score: each element alone, its products exact.
Problem scores_problem(Variant variant, const Floats& scores) {
  const int64_t n = scores.rows();
  Problem problem{variant, scores, Floats(n, n), Floats(n, n), Floats(n, n), Floats(n, 1), Floats(n, 1), 1};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) problem.v.at(i, j) = problem.class_a.at(i, j) = problem.class_v.at(i, j) = i == j;
  problem.trust_a.fill(1), problem.trust_v.fill(1), problem.bias = 0;
  return problem;
}

// x for own pairs, quarters from -1 to 0 for others: numbers that every precision's products keep.
Floats scores_of(int64_t n, double x) {
  Floats scores(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      scores.at(i, j) = i == j ? static_cast<float>(x) : -0.25f * static_cast<float>((7 * i + 3 * j) % 5);
  return scores;
}

Gradients zeros(const Problem& problem) {
  Gradients zero = prefilled(problem);
  zero.a.fill(0), zero.v.fill(0), zero.scale.fill(0), zero.bias.fill(0);
  return zero;
}

// What three roundings of a score and one of its log-odds leave of an exponential, 2^-24 of it each, and twice the
// error of the exponential itself.
double relative_of(double largest_score) { return 4 * 6e-8 * largest_score + 2e-6; }

// d loss/d score by rows and columns, and its parts.
struct ScoreGradient {
  Doubles value, parts;
};
ScoreGradient expected_scores(const Problem& problem, const Weights& weights) {
  const auto rows = problem.rows(problem.scores(), weights.row.values());
  const auto columns = problem.columns(problem.scores(), weights.column.values());
  return {sum(rows.grad_s, reference::transposed(columns.grad_s, problem.m(), problem.n())),
          sum(rows.parts, reference::transposed(columns.parts, problem.m(), problem.n()))};
}

Weights weights_of(int64_t n, float row, float column) { return {Floats(n, 1).fill(row), Floats(n, 1).fill(column)}; }

}  // namespace

TEST_CASE("confident and hopeless rows of a contrastive softmax keep their relative accuracy") {
  for (const Variant variant : kSoftmaxVariants)
    for (const double x : values_of({7.0, 17.0, 30.0, 80.0, 0.5, -7.0, -17.0, -30.0, -80.0}))
      for (const int64_t n : values_of<int64_t>({1, 2, 5, 19})) {
        CAPTURE(static_cast<int>(variant));
        CAPTURE(x);
        CAPTURE(n);
        Problem problem = scores_problem(variant, scores_of(n, x));
        const Losses out = forward(problem);
        const Doubles ones(static_cast<size_t>(n), 1);
        const double relative = relative_of(std::abs(x) + 1);
        check_each(out.row.values(), problem.rows(problem.scores(), ones).loss, relative, "row_loss");
        check_each(out.column.values(), problem.columns(problem.scores(), ones).loss, relative, "column_loss");
        for (const float column : {0.5f, 0.0f}) {
          const Weights weights = weights_of(n, 1, column);
          const ScoreGradient expected = expected_scores(problem, weights);
          // What lies below e^-47 of its weight may be 0 but for own pairs.
          const Gradients after = backward(problem, out, weights, 2, zeros(problem));
          check_parts(after.a.values(), expected.value, expected.parts, relative, "grad_a", 4e-21);
          Doubles own, expected_own;
          for (int64_t i = 0; i < n; ++i)
            own.push_back(after.a.at(i, i)), expected_own.push_back(expected.value[static_cast<size_t>(i * n + i)]);
          check_each(own, expected_own, relative, "own pairs");
        }
      }
}

TEST_CASE("a contrastive softmax of cold temperatures and identical rows") {
  for (const Variant variant : {Variant::infonce, Variant::related}) {
    CAPTURE(static_cast<int>(variant));
    const int64_t n = 6;
    for (const float scale :
         values_of({1000.0f, 100.0f, 1e-3f, 0.0f, -10.0f, 1e-31f})) {  // tau 1e-3; products of eighths are exact
      CAPTURE(scale);
      Problem problem = scores_problem(variant, scores_of(n, 1));
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) problem.a.at(i, j) *= 0.125f;
      problem.scale = scale;
      const Losses out = forward(problem);
      const Doubles ones(static_cast<size_t>(n), 1);
      const double relative = relative_of(std::abs(scale) / 8);
      check_each(out.row.values(), problem.rows(problem.scores(), ones).loss, relative, "row_loss", 1e-37);
      const Weights weights = weights_of(n, 1, 0.25f);
      ScoreGradient expected = expected_scores(problem, weights);
      for (size_t k = 0; k < expected.value.size(); ++k) expected.value[k] *= scale, expected.parts[k] *= scale;
      check_parts(backward(problem, out, weights, 2, zeros(problem)).a.values(), expected.value, expected.parts,
                  relative, "grad_a", 4e-21 * std::abs(scale));
    }
    Problem same = scores_problem(variant, Floats(n, n).fill(2));
    const Losses out = forward(same);
    for (int64_t i = 0; i < n; ++i) CHECK(out.row.at(i) == doctest::Approx(std::log(6.0)).epsilon(1e-6));
    const Weights weights = weights_of(n, 1, 1);
    const ScoreGradient expected = expected_scores(same, weights);
    check_parts(backward(same, out, weights, 2, zeros(same)).a.values(), expected.value, expected.parts, 2e-6,
                "grad_a");
  }
}

TEST_CASE("the sigmoid loss keeps its gradient's accuracy") {
  const Doubles at{7, 17, 30, 80, 100, 0.5, 0, -0.5, -7, -17, -30, -80, -100, 9.125, 16.625, -16.625, 6.875, 300, -300};
  const auto m = static_cast<int64_t>(at.size());
  for (const float w : values_of({0.0f, 1.0f, 0.5f, 0.99999994f, 0.9999f, 0.001f, 1e-7f})) {
    CAPTURE(w);
    Draw draw(61);
    Problem problem = draw_problem(draw, Variant::sigmoid_soft, 1, m, 1, 1, 1);
    problem.bias = 0, problem.a.fill(1), problem.v.assign(at), problem.class_a.fill(1), problem.class_v.fill(w);
    const Weights weights{Floats(1, 1).fill(1), Floats(m, 1).fill(0)};
    const Losses out = forward(problem);
    check_each(out.row.values(), problem.rows(problem.scores(), {1}).loss, 1e-6, "row_loss");
    const Doubles after = backward(problem, out, weights, 2, zeros(problem)).v.values();
    const auto expected = problem.rows(problem.scores(), {1});
    // A hard W: -sigmoid(-x) or sigmoid(x), down to float32's smallest normal numbers. A soft one: 4 ulp of the larger
    // of its two parts.
    const bool hard = w == 0 || w == 1;
    for (size_t k = 0; k < at.size(); ++k) {
      CAPTURE(at[k]);
      const double part = expected.parts[k], ulp = std::ldexp(1.0, std::max(-126, std::ilogb(part)) - 23);
      CHECK(std::abs(after[k] - expected.grad_s[k]) <= (hard ? 1e-5 * part : 4 * ulp) + 2.4e-38);
    }
  }
}

TEST_CASE("what has no weight takes no part in a contrastive gradient, though its sums be infinite or NaN") {
  const int64_t n = 5, d = 2;
  for (const Variant variant : kAllVariants)
    for (const float bad :
         values_of({-1e30f, 1e30f, std::numeric_limits<float>::quiet_NaN()})) {  // products of -inf, inf and NaN
      CAPTURE(static_cast<int>(variant));
      CAPTURE(bad);
      Draw draw(62);
      Problem problem = draw_problem(draw, variant, n, n, d, 10);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < d; ++k)
          problem.v.at(i, k) = 1e9f * static_cast<float>(1 + i), problem.a.at(i, k) *= 1e-9f;
      Problem clean = problem;
      Weights weights = weights_of(n, 1, 0);
      weights.row.at(2) = 0;
      for (int64_t k = 0; k < d; ++k) problem.a.at(2, k) = bad;
      const Gradients expected = backward(clean, forward(clean), weights, 2, zeros(clean));
      const Gradients after = backward(problem, forward(problem), weights, 2, zeros(problem));
      // Float32 sums with other shifts.
      check_relative(after.a.values(), expected.a.values(), 2e-6, "grad_a");
      check_relative(after.scale.values(), expected.scale.values(), 1e-5, "grad_scale");
      check_relative(after.bias.values(), expected.bias.values(), 1e-5, "grad_bias");
      if (!std::isnan(bad)) check_relative(after.v.values(), expected.v.values(), 2e-6, "grad_v");
    }
}

TEST_CASE("a contrastive softmax of large dots by a small scale leaves out own pairs alone") {
  struct Shape {
    float scale, side, own, other;  // dots side * own and side * other
  };
  for (const Shape& shape :
       {Shape{0.1f, 1e18f, -1.9e19f, -1.5e19f}, Shape{0.1f, 1e18f, -3e19f, -5e19f},
        Shape{0.1f, 1e18f, -1.5e19f, -1.9e19f}, Shape{0.01f, 1e19f, -1.9e19f, -1.5e19f},
        Shape{-0.01f, 1e19f, 1.5e19f, 1.9e19f}, Shape{1e-31f, 1e19f, -1e19f, -0.9e19f},
        Shape{1e-31f, 1e19f, 0.9e19f, 1e19f}, Shape{1e-38f, 1e19f, 0.9e19f, 1e19f}, Shape{0, 1e19f, 0.9e19f, 1e19f}})
    for (const Variant variant : kSoftmaxVariants) {
      // METHOD.md 4: a relation's scores have sums up to a size of 2e36.
      if (variant == Variant::related && std::abs(shape.scale * shape.side * shape.own) > 2e36f) continue;
      CAPTURE(shape.scale);
      CAPTURE(shape.own);
      CAPTURE(static_cast<int>(variant));
      Draw draw(63);
      Problem problem = draw_problem(draw, variant, 1, 2, 1, shape.scale);
      problem.trust_v.fill(1);
      problem.labels_a = problem.labels_v = problem.group_a = problem.group_v = Ints(0, 1);
      problem.a.at(0) = shape.side, problem.v.at(0) = shape.own, problem.v.at(1) = shape.other;
      const double expected = problem.rows(problem.scores(), {1}).loss[0];
      CHECK(std::abs(forward(problem).row.at(0) - expected) <= 2e-6 * std::abs(expected) + 2e-6);
    }
}

TEST_CASE("contrastive rows whose own score is minus infinity lose without bound, not NaN") {
  for (const Variant variant : kSoftmaxVariants) {
    CAPTURE(static_cast<int>(variant));
    Problem problem = scores_problem(variant, scores_of(2, 1));
    problem.a = problem.v;
    problem.a.at(0, 0) = 1e20f, problem.v.at(0, 0) = -1e20f;
    const Losses out = forward(problem);
    CHECK(out.row.at(0) == std::numeric_limits<float>::infinity());
    CHECK(out.column.at(0) == std::numeric_limits<float>::infinity());
    CHECK(std::isfinite(out.row.at(1)));
    CHECK(std::isfinite(out.column.at(1)));
  }
}

TEST_CASE("a contrastive softmax of rows of wild norms whose scores are large") {
  for (const Variant variant : kSoftmaxVariants) {
    CAPTURE(static_cast<int>(variant));
    Problem problem = scores_problem(variant, Floats(2, 2).fill(0));
    problem.v.fill(0);
    problem.a.at(0, 0) = 1e-23f, problem.a.at(1, 0) = 0.5e-23f, problem.v.at(0, 0) = -0.3e18f,
                    problem.v.at(1, 0) = 1e18f;
    problem.scale = 1e7f;  // scores of -30, 100, -15, 50
    const Doubles s = problem.scores();
    const Losses out = forward(problem);
    check_close(out.row.values(), problem.rows(s, {1, 1}).loss, softmax_tolerance(2, 1, 100), "row_loss");
    check_close(out.column.values(), problem.columns(s, {1, 1}).loss, softmax_tolerance(2, 1, 100), "column_loss");
  }
}
