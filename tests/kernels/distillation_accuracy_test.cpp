// Gradients and losses of confident and hopeless rows keep their relative accuracy; extreme scales; KL is never below
// 0; rows of weight 0.
#include "tests/kernels/distillation_problem.h"

using namespace duet::test;
using namespace duet::test::distillation;

namespace {

// x for own pairs, quarters from -1 to 0 for others: numbers that every precision's products keep.
Floats scores_of(int64_t n, double x, int64_t turn) {
  Floats scores(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      scores.at(i, j) = i == j ? static_cast<float>(x) : -0.25f * static_cast<float>((turn * i + 3 * j) % 5);
  return scores;
}

// v is the identity, so that a holds the scores and grad_a d loss/d score: each element alone, its products exact. What
// is one-hot.
Problem scores_problem(const Floats& student, const Floats& teacher, float kappa) {
  const int64_t n = student.rows();
  Floats one(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) one.at(i, j) = i == j;
  Problem problem{student,
                  one,
                  teacher,
                  one,
                  one,
                  one,
                  Floats(n, 1).fill(1),
                  Floats(n, 1).fill(1),
                  Floats(n, 1).fill(kappa),
                  Floats(n, 1).fill(kappa),
                  1,
                  1};
  problem.paired = true;
  return problem;
}

Gradients zeros(const Problem& problem) {
  Gradients zero = prefilled(problem);
  zero.a.fill(0), zero.v.fill(0), zero.scale.fill(0);
  return zero;
}

// What three roundings of a score and one of its log-odds leave of an exponential, 2^-24 of it each, and twice the
// error of the exponential itself.
double relative_of(double largest_score) { return 4 * 6e-8 * largest_score + 2e-6; }

void check_not_negative(const Losses& out) {
  for (const Doubles& losses : {out.row.values(), out.column.values()})
    for (const double loss : losses) CHECK(loss >= 0);
}

}  // namespace

TEST_CASE("confident and hopeless rows of a distillation keep their relative accuracy") {
  for (const double x : values_of({3.0, 7.0, 17.0, 30.0, 80.0, -7.0, -30.0, -80.0}))
    for (const double teacher : values_of({3.0, 30.0, 80.0, -7.0}))
      for (const float kappa : values_of({0.0f, 0.5f, 1.0f}))
        for (const int64_t n : values_of<int64_t>({1, 2, 7})) {
          CAPTURE(x);
          CAPTURE(teacher);
          CAPTURE(kappa);
          CAPTURE(n);
          Problem problem = scores_problem(scores_of(n, x, 7), scores_of(n, teacher, 4), kappa);
          const Losses out = forward(problem);
          const Doubles ones(static_cast<size_t>(n), 1);
          const double relative = relative_of(std::max(std::abs(x), std::abs(teacher)) + 1);
          check_losses(problem, out, softmax_tolerance(n, 1, std::max(std::abs(x), std::abs(teacher)) + 1));
          check_not_negative(out);
          if (kappa == 1) check_each(out.row.values(), problem.rows(ones).loss, relative, "row_loss");
          const Weights weights{Floats(n, 1).fill(1), Floats(n, 1).fill(0.5)};
          const auto rows = problem.rows(weights.row.values()), columns = problem.columns(weights.column.values());
          const Doubles expected = sum(rows.grad_s, reference::transposed(columns.grad_s, n, n));
          const Doubles parts = sum(rows.parts, reference::transposed(columns.parts, n, n));
          // What lies below e^-47 of its weight may be 0 but for own pairs. Another pair may be the confident one:
          // there P and P' are what is rounded.
          const Gradients after = backward(problem, out, weights, 2, zeros(problem));
          check_parts(after.a.values(), expected, parts, relative, "grad_a",
                      std::min(x, teacher) < 0 ? 2 * relative : 4e-21);
          Doubles own, expected_own, parts_own;
          for (int64_t i = 0; i < n; ++i) {
            const auto k = static_cast<size_t>(i * n + i);
            own.push_back(after.a.at(i, i)), expected_own.push_back(expected[k]), parts_own.push_back(parts[k]);
          }
          check_parts(own, expected_own, parts_own, relative, "own pairs", 1e-37);
        }
}

TEST_CASE("a distillation towards itself is 0, and never below") {
  for (const int64_t n : values_of<int64_t>({1, 6, 33}))
    for (const float scale : values_of({1.0f, 10.0f, 100.0f, 1000.0f, 0.0f})) {
      CAPTURE(n);
      CAPTURE(scale);
      Draw draw(71);
      Problem problem = draw_problem(draw, n, n, 5, scale, scale);
      problem.teacher_a = problem.a, problem.teacher_v = problem.v, problem.paired = n == 6;
      problem.kappa_a.fill(0), problem.kappa_v.fill(0);
      const Losses out = forward(problem);
      check_losses(problem, out, problem.tolerance());
      check_not_negative(out);
    }
}

TEST_CASE("distillation of rows of norm 1e5 stays finite and within its bound") {
  const int64_t n = 9, d = 3;
  Draw draw(72);
  for (const bool paired : {false, true}) {
    Problem problem = draw_problem(draw, n, n, d, 3.7f, 3.7f);
    problem.paired = paired;
    for (Floats* rows : {&problem.a, &problem.v, &problem.teacher_a, &problem.teacher_v})
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < rows->columns(); ++k) rows->at(i, k) *= 1e5f;
    const Losses out = forward(problem);
    const double score = 3.7e10;
    check_losses(problem, out, softmax_tolerance(d, 1, score) + 1e-7 * score * problem.teacher_condition());
    check_not_negative(out);
    const Gradients after = backward(problem, out, {Floats(n, 1).fill(1), Floats(n, 1).fill(1)}, 2, zeros(problem));
    for (const Doubles& values : {after.a.values(), after.v.values(), after.scale.values()})
      for (const double value : values) CHECK(std::isfinite(value));
  }
}

TEST_CASE("a distillation's rows do not feel the scores of huge rows beside them") {
  const int64_t n = 9;
  for (const bool paired : {false, true}) {
    Floats student = scores_of(n, 1, 7);
    for (int64_t j = 0; j < n; ++j) student.at(4, j) *= 1e9f;
    Problem problem = scores_problem(student, scores_of(n, 2, 5), 0);
    problem.paired = paired;
    const Losses out = forward(problem);
    const Doubles expected = problem.rows(Doubles(static_cast<size_t>(n), 1)).loss;
    for (int64_t i = 0; i < n; ++i) {
      CAPTURE(i);
      CHECK(std::abs(out.row.at(i) - expected[static_cast<size_t>(i)]) <=
            2e-6 + 2e-6 * expected[static_cast<size_t>(i)]);
    }
  }
}

TEST_CASE("what has no weight takes no part in a distillation's gradient, though its sums be infinite or NaN") {
  const int64_t n = 5, d = 2;
  for (const bool paired : {false, true})
    for (const float bad :
         values_of({-1e30f, 1e30f, std::numeric_limits<float>::quiet_NaN()})) {  // products of -inf, inf and NaN
      CAPTURE(bad);
      Draw draw(73);
      Problem problem = draw_problem(draw, n, n, d, 10, 1);
      problem.paired = paired;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < d; ++k)
          problem.v.at(i, k) = 1e9f * static_cast<float>(1 + i), problem.a.at(i, k) *= 1e-9f;
      Problem clean = problem;
      const Weights weights{Floats(n, 1).fill(1), Floats(n, 1).fill(0)};
      Weights without = weights;
      without.row.at(2) = 0;
      for (int64_t k = 0; k < d; ++k) problem.a.at(2, k) = bad;
      const Gradients expected = backward(clean, forward(clean), without, 2, zeros(clean));
      const Gradients after = backward(problem, forward(problem), without, 2, zeros(problem));
      // Float32 sums with other shifts.
      check_relative(after.a.values(), expected.a.values(), 2e-6, "grad_a");
      check_relative(after.scale.values(), expected.scale.values(), 1e-5, "grad_scale");
      if (!std::isnan(bad)) check_relative(after.v.values(), expected.v.values(), 2e-6, "grad_v");
    }
}

TEST_CASE("a distillation from a teacher whose scale is 0 or next to it") {
  for (const float scale : values_of({10.0f, 100.0f, 0.0f}))  // bounded, not bounded, nothing
    for (const float teacher_scale : {0.0f, 1e-38f, -1e-31f})
      for (const int64_t n : values_of<int64_t>({1, 2, 40})) {
        CAPTURE(scale);
        CAPTURE(teacher_scale);
        CAPTURE(n);
        Draw draw(74);
        Problem problem = draw_problem(draw, n, n, 5, scale, teacher_scale);
        problem.paired = true;
        const Losses out = forward(problem);
        check_losses(problem, out, problem.tolerance());
        check_not_negative(out);
        const Weights weights{draw.choice(n, {1, 0.5}), draw.choice(n, {1, 0.5})};
        const Gradients before = prefilled(problem);
        check_gradients(problem, weights, before, backward(problem, out, weights, 2, before), problem.tolerance());
      }
}

TEST_CASE("a distillation of large dots by a small scale leaves out own pairs alone") {
  struct Shape {
    float scale, side, own, other;  // dots side * own and side * other
  };
  for (const Shape& shape : {Shape{0.1f, 1e18f, -1.9e19f, -1.5e19f}, Shape{0.1f, 1e18f, -1.5e19f, -1.9e19f},
                             Shape{0.01f, 1e19f, -1.9e19f, -1.5e19f}, Shape{-0.01f, 1e19f, 1.5e19f, 1.9e19f},
                             Shape{1e-31f, 1e19f, -1e19f, -0.9e19f}, Shape{1e-31f, 1e19f, 0.9e19f, 1e19f}})
    for (const bool teacher : {false, true})  // whose dots they are
      for (const float kappa : {0.0f, 0.5f, 1.0f}) {
        CAPTURE(shape.scale);
        CAPTURE(shape.own);
        CAPTURE(teacher);
        CAPTURE(kappa);
        Draw draw(75);
        Problem problem = draw_problem(draw, 1, 2, 1, 1, 1);
        problem.teacher_a = Floats(1, 1).fill(1), problem.teacher_v = draw.normals(2, 1);
        problem.paired = true;
        problem.kappa_a.fill(kappa), problem.trust_v.fill(1);
        (teacher ? problem.teacher_a : problem.a).at(0) = shape.side;
        (teacher ? problem.teacher_v : problem.v).at(0) = shape.own;
        (teacher ? problem.teacher_v : problem.v).at(1) = shape.other;
        (teacher ? problem.teacher_scale : problem.scale) = shape.scale;
        const double expected = problem.rows({1}).loss[0];
        // The teacher's scores leave a KL by cancelling.
        double size = 0;
        for (const double t : problem.teacher_scores()) size = std::max(size, std::abs(t));
        CHECK(std::abs(forward(problem).row.at(0) - expected) <=
              2e-6 * std::abs(expected) + 2e-6 + (teacher ? 1e-6 * size : 0));
      }
}

TEST_CASE("a distillation's rows whose own score is minus infinity lose without bound, not NaN") {
  Draw draw(76);
  for (const float kappa : {0.0f, 0.5f, 1.0f}) {
    CAPTURE(kappa);
    Problem problem = draw_problem(draw, 2, 2, 2, 1, 1);
    for (Floats* rows : {&problem.a, &problem.v, &problem.class_a, &problem.class_v}) {
      *rows = Floats(2, 2).fill(0);
      for (int64_t i = 0; i < 2; ++i) rows->at(i, i) = 1;
    }
    problem.a.at(0, 0) = 1e20f, problem.v.at(0, 0) = -1e20f;
    problem.kappa_a.fill(kappa), problem.kappa_v.fill(kappa);
    problem.paired = true;
    const Losses out = forward(problem);
    CHECK(out.row.at(0) == std::numeric_limits<float>::infinity());
    CHECK(out.column.at(0) == std::numeric_limits<float>::infinity());
    CHECK(std::isfinite(out.row.at(1)));
    CHECK(std::isfinite(out.column.at(1)));
  }
}

TEST_CASE("a distillation of rows of wild norms whose scores are large") {
  Draw draw(77);
  for (const bool teacher : {false, true}) {
    Problem problem = draw_problem(draw, 2, 2, 2, 1, 1);
    problem.paired = true;
    Floats &a = teacher ? problem.teacher_a : problem.a, &v = teacher ? problem.teacher_v : problem.v;
    a.fill(0), v.fill(0);
    a.at(0, 0) = 1e-23f, a.at(1, 0) = 0.5e-23f, v.at(0, 0) = -0.3e18f, v.at(1, 0) = 1e18f;
    (teacher ? problem.teacher_scale : problem.scale) = 1e7f;  // scores of -30, 100, -15, 50
    check_losses(problem, forward(problem), softmax_tolerance(2, 1, 100));
  }
}

TEST_CASE("a distillation's own pairs are positives where there are classes, of no column too") {
  for (const int64_t n : {3, 260})  // in one launch a pass, and in tiles
    for (const bool flagged : {false, true}) {
      if (!affordable_tiles(n, n, 4)) continue;
      CAPTURE(n);
      CAPTURE(flagged);
      Draw draw(78);
      Problem problem = draw_problem(draw, n, n, 4, 10, 1);
      problem.paired = true;
      problem.class_a = Floats(n, 0), problem.class_v = Floats(n, 0);
      problem.kappa_a.fill(0.5f), problem.kappa_v.fill(1);
      if (flagged) problem.annotated_a = problem.annotated_v = Floats(n, 1).fill(1);
      Call call(problem, 2);
      Floats some(1, 1);  // there, but nothing of it is read
      call.inputs.class_a = call.inputs.class_v = duet_f32_matrix(some.data(), n, 0);
      Losses out(n, n);
      forward(call, out);
      check_losses(problem, out, problem.tolerance());
      for (int64_t i = 0; i < n; ++i) CHECK(out.row_statistics.at(i, 2) == 1);
      const Weights weights{draw.choice(n, {1, 0.5}), draw.choice(n, {1, 0.5})};
      const Gradients before = prefilled(problem);
      Gradients after = before;
      backward(call, out, weights, after);
      check_gradients(problem, weights, before, after, problem.tolerance());
    }
}

TEST_CASE("a distillation's weight of 0 takes no part, though its kappa be NaN") {
  const int64_t n = 4, d = 3;
  Draw draw(79);
  for (const bool paired : {false, true}) {
    Problem problem = draw_problem(draw, n, n, d, 10, 1);
    problem.paired = paired;
    const Losses out = forward(problem);
    Weights weights{Floats(n, 1).fill(1), Floats(n, 1).fill(1)};
    weights.row.at(1) = weights.column.at(2) = 0;
    const Gradients expected = backward(problem, out, weights, 2, zeros(problem));
    problem.kappa_a.at(1) = problem.kappa_v.at(2) = std::numeric_limits<float>::quiet_NaN();
    CHECK(backward(problem, out, weights, 2, zeros(problem)).same_bits(expected));
  }
}
