// What distillation is held against: the reference's gradients against differences of its losses, and the golden cases.
#include "tests/kernels/distillation_problem.h"
#include "tests/support/golden.h"

using namespace duet::test;
using namespace duet::test::distillation;

TEST_CASE("the reference's distillation gradients are those of its losses") {
  Draw draw(34);
  Problem p = draw_problem(draw, 5, 6, 3, 3, 2, 3);
  p.paired = true;
  for (int64_t c = 0; c < 3; ++c) p.class_a.at(2, c) = 0;  // a row that agrees with nothing but its own pair
  const Weights weights{draw.normals(5, 1), draw.normals(6, 1)};
  const Doubles a = p.a.values(), v = p.v.values(), row_weight = weights.row.values(),
                column_weight = weights.column.values();
  const auto loss = [&](const Doubles& a, const Doubles& v, double scale) {
    const Doubles s = reference::scores(a, v, 5, 6, 3, DUET_METRIC_INNER, scale), row = p.rows(s, row_weight).loss,
                  column = p.columns(s, column_weight).loss;
    double total = 0;
    for (size_t i = 0; i < row.size(); ++i) total += row_weight[i] * row[i];
    for (size_t j = 0; j < column.size(); ++j) total += column_weight[j] * column[j];
    return total;
  };
  const auto analytic = expected_gradients(p, weights);
  check_close(analytic.a, central_differences([&](const Doubles& at) { return loss(at, v, p.scale); }, a), 1e-7, "a");
  check_close(analytic.v, central_differences([&](const Doubles& at) { return loss(a, at, p.scale); }, v), 1e-7, "v");
  check_close({analytic.scale}, central_differences([&](const Doubles& at) { return loss(a, v, at[0]); }, {p.scale}),
              1e-7, "scale");
}

TEST_CASE("distillation agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    const auto load = [&](const char* name) { return golden.load(name).array(); };
    Problem problem{load("A"),
                    load("V"),
                    load("At"),
                    load("Vt"),
                    load("Qa"),
                    load("Qv"),
                    load("ta"),
                    load("tv"),
                    load("ka"),
                    load("kv"),
                    static_cast<float>(1 / golden.fact("tau")),
                    static_cast<float>(1 / golden.fact("tau_teacher"))};
    problem.paired = golden.fact("paired") != 0;
    // "ties" holds rows of norm up to sqrt(6) / 2
    const double allowed = softmax_tolerance(problem.d(), std::max(problem.scale, problem.teacher_scale),
                                             golden.name() == "ties" ? 1.5 : 1);
    const Losses out = forward(problem);
    check_close(out.row.values(), golden.load("distill_row").values, allowed, "row_loss");
    check_close(out.column.values(), golden.load("distill_col").values, allowed, "column_loss");
    Weights weights{problem.trust_a, problem.trust_v};
    for (int64_t i = 0; i < problem.n(); ++i) weights.row.at(i) /= static_cast<float>(2 * problem.n());
    for (int64_t j = 0; j < problem.m(); ++j) weights.column.at(j) /= static_cast<float>(2 * problem.m());
    Gradients zero = prefilled(problem);
    zero.a.fill(0), zero.v.fill(0), zero.scale.fill(0);
    const Gradients gradients = backward(problem, out, weights, 2, zero);
    const double floor =
        2e-7 * problem.scale * std::max(largest(weights.row.values()), largest(weights.column.values()));
    check_relative(gradients.a.values(), golden.load("distill_dA").values, allowed, "grad_a", floor);
    check_relative(gradients.v.values(), golden.load("distill_dV").values, allowed, "grad_v", floor);
  }
}
