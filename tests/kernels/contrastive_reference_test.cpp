// What the contrastive losses are held against: the reference's gradients against differences of its losses, and the
// golden cases.
#include <cstddef>

#include "tests/kernels/contrastive_problem.h"
#include "tests/support/golden.h"

using namespace duet::test;
using namespace duet::test::contrastive;

TEST_CASE("the reference's contrastive gradients are those of its losses") {
  for (const Variant variant : kAllVariants) {
    if (variant == Variant::circle) continue;  // its factors are no part of the gradient
    CAPTURE(static_cast<int>(variant));
    Draw draw(43);
    Problem p = draw_problem(draw, variant, 5, 6, 3, 3, 3);
    const Weights weights{draw.normals(5, 1), draw.normals(6, 1)};
    const Doubles a = p.a.values(), v = p.v.values(), row_weight = weights.row.values(),
                  column_weight = weights.column.values();
    const auto loss = [&](const Doubles& a, const Doubles& v, double scale, double bias) {
      const Doubles s = p.scores(a, v, scale, bias), row = p.rows(s, row_weight).loss,
                    column = p.columns(s, column_weight).loss;
      double total = 0;
      for (size_t i = 0; i < row.size(); ++i) total += row_weight[i] * row[i];
      for (size_t j = 0; j < column.size(); ++j) total += column_weight[j] * column[j];
      return total;
    };
    const auto analytic = expected_gradients(p, weights);
    const double scale = p.scale, bias = p.bias;
    check_close(analytic.gradients.a,
                central_differences([&](const Doubles& at) { return loss(at, v, scale, bias); }, a), 1e-7, "a");
    check_close(analytic.gradients.v,
                central_differences([&](const Doubles& at) { return loss(a, at, scale, bias); }, v), 1e-7, "v");
    check_close({analytic.gradients.scale},
                central_differences([&](const Doubles& at) { return loss(a, v, at[0], bias); }, {scale}), 1e-7,
                "scale");
    if (p.is_sigmoid())
      check_close({analytic.bias},
                  central_differences([&](const Doubles& at) { return loss(a, v, scale, at[0]); }, {bias}), 1e-7,
                  "bias");
  }
}

TEST_CASE("the reference's gradients of circle loss are those of its loss with the factors held") {
  const int64_t n = 5, m = 6;
  const double scale = 3, margin = 0.25;
  Draw draw(55);
  Problem p = draw_problem(draw, Variant::circle, n, m, 3, 1, 2);
  const reference::Relation pairs = p.relation();
  const Doubles dots = p.scores(), weight = draw.normals(n, 1).values();
  const auto loss = [&](const Doubles& at, double scale_at) {
    const Doubles rows = reference::circle_rows(at, dots, scale_at, margin, pairs, weight, n, m).loss;
    double total = 0;
    for (size_t i = 0; i < rows.size(); ++i) total += weight[i] * rows[i];
    return total;
  };
  const reference::RowTerms terms = reference::circle_rows(dots, dots, scale, margin, pairs, weight, n, m);
  CHECK(largest(terms.grad_s) > 0.01);
  check_close(times(terms.grad_s, scale), central_differences([&](const Doubles& at) { return loss(at, scale); }, dots),
              1e-7, "dots");
  double by_scale = 0;
  for (const double term : terms.by_scale) by_scale += term;
  check_close({by_scale}, central_differences([&](const Doubles& at) { return loss(dots, at[0]); }, {scale}), 1e-7,
              "scale");
}

TEST_CASE("contrastive losses agree with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    const auto load = [&](const char* name) { return golden.load(name).array(); };
    for (const Variant variant : {Variant::infonce, Variant::multi_positive, Variant::sigmoid}) {
      const std::string prefix = variant == Variant::infonce   ? "infonce"
                                 : variant == Variant::sigmoid ? "sigmoid"
                                                               : "multi_positive";
      if (!golden.has(prefix + "_loss")) continue;
      CAPTURE(prefix);
      Problem problem{variant,    load("A"),  load("V"),  load("Qa"),
                      load("Qv"), load("ta"), load("tv"), static_cast<float>(1 / golden.fact("tau"))};
      problem.paired = golden.fact("paired") != 0;
      problem.bias = static_cast<float>(golden.fact("sigmoid_bias"));
      const double norms = golden.name() == "ties" ? 1.5 : 1,
                   allowed = softmax_tolerance(problem.d(), problem.scale, norms);
      const Losses out = forward(problem);
      Weights weights{problem.trust_a, problem.trust_v};
      const auto n = static_cast<float>(problem.n()), m = static_cast<float>(problem.m());
      for (int64_t i = 0; i < problem.n(); ++i)
        weights.row.at(i) = problem.is_sigmoid() ? 1 / n : weights.row.at(i) / (2 * n);
      for (int64_t j = 0; j < problem.m(); ++j) weights.column.at(j) /= 2 * m;
      Gradients zero = prefilled(problem);
      zero.a.fill(0), zero.v.fill(0), zero.scale.fill(0), zero.bias.fill(0);
      const Gradients gradients = backward(problem, out, weights, 2, zero);
      const double floor =
          2e-7 * problem.scale * norms * std::max(largest(weights.row.values()), largest(weights.column.values()));
      check_relative(gradients.a.values(), golden.load(prefix + "_dA").values, allowed, "grad_a", floor);
      check_relative(gradients.v.values(), golden.load(prefix + "_dV").values, allowed, "grad_v", floor);
      if (problem.is_sigmoid()) {
        double total = 0;
        for (const double row : out.row.values()) total += row / problem.n();
        check_close({total}, golden.load("sigmoid_loss").values, problem.tolerance(norms), "loss");
        const Expected expected = expected_gradients(problem, weights);
        check_close(gradients.scale.values(), golden.load("sigmoid_dscale").values,
                    allowed * expected.gradients.scale_terms, "grad_scale");
        check_close(gradients.bias.values(), golden.load("sigmoid_dbias").values, allowed * expected.bias_terms,
                    "grad_bias");
      } else {
        check_close(out.row.values(), golden.load(prefix + "_row").values, allowed, "row_loss");
        check_close(out.column.values(), golden.load(prefix + "_col").values, allowed, "column_loss");
      }
    }
  }
}
