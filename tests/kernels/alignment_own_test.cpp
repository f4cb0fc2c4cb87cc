// Alignment without own pairs.
#include "tests/kernels/alignment_problem.h"

using namespace duet::test;
using namespace duet::test::alignment;
namespace reference = duet::reference;

namespace {

// Shapes, and where the parts begin: squares, parts that cross, parts that do not meet, one row of which nothing is
// left, more than a tile.
struct Part {
  int64_t n, m, d, first_row, first_column;
};
const Part kParts[] = {{1, 1, 3, 0, 0},      {1, 1, 3, 0, 1},      {1, 5, 2, 7, 5},      {6, 1, 4, 2, 5},
                       {31, 67, 33, 20, 11}, {67, 31, 9, 0, 60},   {40, 40, 5, 100, 40}, {129, 257, 16, 3, 0},
                       {300, 131, 7, 0, 0},  {140, 140, 9, 0, 139}};

Problem draw_part(Draw& draw, const Part& part, float scale, duet_metric score) {
  Problem out{draw.unit_rows(part.n, part.d, 1), draw.unit_rows(part.m, part.d), scale, score};
  out.exclude_own = true, out.first_row = part.first_row, out.first_column = part.first_column;
  return out;
}

struct Probabilities {
  Floats p;
  Gradients gradients;
};

Probabilities probabilities(Problem& problem, Sums lse, Floats grad_p, int threads, const Gradients& before) {
  Call call(problem, threads);
  Probabilities out{Floats(problem.n(), problem.m(), 2), before};
  SUCCEED_CALL(duet_alignment_probabilities(
      call.context, &call.inputs,
      sized<duet_alignment_probabilities_outputs>({.lse_row = lse.row.vector(), .probabilities = out.p.matrix()}),
      call.scratch->view()));
  SUCCEED_CALL(duet_alignment_probabilities_backward(
      call.context, &call.inputs,
      sized<duet_alignment_probabilities_gradients>({.probabilities = out.p.matrix(),
                                                     .grad_probabilities = grad_p.matrix(),
                                                     .grad_a = out.gradients.a.matrix(),
                                                     .grad_v = out.gradients.v.matrix(),
                                                     .grad_scale = out.gradients.scale.vector()}),
      call.scratch->view()));
  return out;
}

// P, 0 at own pairs, which is all of it where nothing is left.
Doubles expected_probabilities(const Problem& problem) {
  Doubles p = reference::softmax_rows(problem.scores(), problem.n(), problem.m());
  for (int64_t i = 0; i < problem.n(); ++i)
    for (int64_t j = 0; j < problem.m(); ++j)
      if (problem.excluded(i, j)) p[i * problem.m() + j] = 0;
  return p;
}

// d loss/d s of loss = sum_ij grad_p_ij P_ij; grad_p of own pairs is not looked at.
Doubles probability_gradient(const Problem& problem, const Floats& grad_p) {
  const int64_t n = problem.n(), m = problem.m();
  const Doubles p = expected_probabilities(problem);
  Doubles grad_s(p.size());
  for (int64_t i = 0; i < n; ++i) {
    double dot = 0;
    for (int64_t j = 0; j < m; ++j)
      if (!problem.excluded(i, j)) dot += p[i * m + j] * grad_p.at(i, j);
    for (int64_t j = 0; j < m; ++j)
      grad_s[i * m + j] = problem.excluded(i, j) ? 0 : p[i * m + j] * (grad_p.at(i, j) - dot);
  }
  return grad_s;
}

// A device may take an infinite feature apart, and then has NaN (METHOD.md 4).
bool is_infinity(float x, float sign) { return std::isinf(x) ? x * sign > 0 : std::isnan(x) && !on_cpu(); }

}  // namespace

TEST_CASE("alignment without own pairs agrees with the reference, whatever the threads") {
  for (const Part& part : kParts) {
    if (!affordable_tiles(part.n, part.m, part.d)) continue;
    for (const float scale : values_of({10.0f, 1000.0f, 0.0f, -3.0f})) {
      if (scale != 10 && part.n > 100) continue;
      for (const duet_metric score : kScores) {
        if (scale < 0 && score != DUET_METRIC_INNER) continue;
        CAPTURE(part.n);
        CAPTURE(part.m);
        CAPTURE(scale);
        Draw draw(41);
        Problem problem = draw_part(draw, part, scale, score);
        const double allowed = std::max(problem.tolerance(), 1e-6);
        const Sums lse = forward(problem, 1), weights{draw.normals(part.n, 1), draw.normals(part.m, 1)};
        check_close(lse.row.values(), problem.lse_row(), allowed, std::string("lse_row ") + kNames[score]);
        check_close(lse.column.values(), problem.lse_column(), allowed, std::string("lse_column ") + kNames[score]);
        const Gradients before = prefilled(problem), first = backward(problem, lse, weights, 1, before);
        check_gradients(problem, score_gradient(problem, weights), before, first, allowed, rounding(weights));
        for (const int threads : other_thread_counts()) {
          const Sums again = forward(problem, threads);
          CHECK(again.row.same_bits(lse.row));
          CHECK(again.column.same_bits(lse.column));
          CHECK(backward(problem, lse, weights, threads, before).same_bits(first));
        }
      }
    }
  }
}

TEST_CASE("alignment's probabilities without own pairs, whose d loss/dP is not read") {
  for (const Part& part : kParts) {
    if (!affordable_tiles(part.n, part.m, part.d)) continue;
    for (const duet_metric score : kScores) {
      CAPTURE(part.n);
      CAPTURE(part.m);
      Draw draw(42);
      Problem problem = draw_part(draw, part, 5, score);
      Floats grad_p = draw.normals(part.n, part.m, 1, 2), with_nan = grad_p;
      for (int64_t i = 0; i < part.n; ++i)
        for (int64_t j = 0; j < part.m; ++j)
          if (problem.excluded(i, j)) with_nan.at(i, j) = std::nanf("");
      const Sums lse = forward(problem);
      const Gradients before = prefilled(problem);
      const Probabilities first = probabilities(problem, lse, grad_p, 1, before);
      const double worst = largest(grad_p.values()), allowed = problem.tolerance();
      check_close(first.p.values(), expected_probabilities(problem), 2 * allowed, "P");
      check_gradients(problem, probability_gradient(problem, grad_p), before, first.gradients, worst * allowed,
                      worst * allowed);
      CHECK(probabilities(problem, lse, with_nan, 1, before).gradients.same_bits(first.gradients));
      for (const int threads : other_thread_counts()) {
        const Probabilities again = probabilities(problem, lse, grad_p, threads, before);
        CHECK(again.p.same_bits(first.p));
        CHECK(again.gradients.same_bits(first.gradients));
      }
    }
  }
}

TEST_CASE("alignment's gradients without own pairs are those of its log-sum-exps") {
  const int64_t n = 4, m = 5, d = 3;
  Draw draw(43);
  for (const duet_metric score : kScores) {
    Problem problem = draw_part(draw, {n, m, d, 2, 0}, 1.7f, score);
    const Sums weights{draw.normals(n, 1), draw.normals(m, 1)};
    Sums lse = forward(problem);
    const Gradients nothing{Floats(n, d), Floats(m, d), Floats(1, 1)};
    Gradients zeros = nothing;
    zeros.a.fill(0), zeros.v.fill(0), zeros.scale.fill(0);
    const Gradients found = backward(problem, lse, weights, 1, zeros);
    const auto loss = [&](const Doubles& a, const Doubles& v, double scale) {
      Doubles s = reference::scores(a, v, n, m, d, score, scale);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j)
          if (problem.excluded(i, j)) s[i * m + j] = -std::numeric_limits<double>::infinity();
      const Doubles row = reference::log_sum_exp_rows(s, n, m),
                    column = reference::log_sum_exp_rows(reference::transposed(s, n, m), m, n);
      double total = 0;
      for (int64_t i = 0; i < n; ++i) total += weights.row.at(i) * row[i];
      for (int64_t j = 0; j < m; ++j) total += weights.column.at(j) * column[j];
      return total;
    };
    const Doubles a = problem.a.values(), v = problem.v.values();
    const double scale = problem.scale, allowed = 3e-6;  // float32 beside differences of 1e-6
    check_close(found.a.values(), central_differences([&](const Doubles& at) { return loss(at, v, scale); }, a),
                allowed, kNames[score]);
    check_close(found.v.values(), central_differences([&](const Doubles& at) { return loss(a, at, scale); }, v),
                allowed, kNames[score]);
    check_close(found.scale.values(),
                central_differences([&](const Doubles& at) { return loss(a, v, at[0]); }, {scale}), allowed,
                kNames[score]);
  }
}

TEST_CASE("parts of an alignment without own pairs merge by log-add-exp") {
  const int64_t n = 70, m = 90, d = 9, rows = 33, columns = 41;
  Draw draw(44);
  Problem whole = draw_part(draw, {n, m, d, 5, 0}, 20, DUET_METRIC_INNER);
  Doubles row(static_cast<size_t>(n), -std::numeric_limits<double>::infinity());
  for (const int64_t i : {int64_t{0}, rows}) {
    for (const int64_t j : {int64_t{0}, columns}) {
      const int64_t part_n = i ? n - rows : rows, part_m = j ? m - columns : columns;
      Call call(whole, 2);
      call.inputs.a = whole.a.part(i, 0, part_n, d), call.inputs.v = whole.v.part(j, 0, part_m, d);
      call.inputs.first_row += i, call.inputs.first_column += j;
      Floats part(part_n, 1);
      SUCCEED_CALL(duet_alignment_forward(
          call.context, &call.inputs, sized<duet_alignment_outputs>({.lse_row = part.vector()}), call.scratch->view()));
      for (int64_t r = 0; r < part_n; ++r) {
        double& into = row[static_cast<size_t>(i + r)];
        const double x = part.at(r), high = std::max(into, x), low = std::min(into, x);
        into = high + std::log1p(std::exp(low - high));
      }
    }
  }
  check_close(row, whole.lse_row(), whole.tolerance(), "merged rows");
}

TEST_CASE("alignment without own pairs: parts that do not meet, infinities, and offsets that are refused") {
  Draw draw(45);
  Problem apart = draw_part(draw, {20, 30, 4, 500, 3}, 10, DUET_METRIC_INNER), plain = apart;
  plain.exclude_own = false;
  const Sums lse = forward(apart), of_plain = forward(plain);
  const double allowed = apart.tolerance();
  check_close(lse.row.values(), of_plain.row.values(), allowed, "no own pair");
  check_close(lse.column.values(), of_plain.column.values(), allowed, "no own pair");
  {  // what is left of row 1 scores -inf, as an empty sum; what is left of row 2 holds a NaN
    Problem problem = draw_part(draw, {3, 3, 2, 0, 0}, 1, DUET_METRIC_INNER);
    for (int64_t i = 0; i < 3; ++i) problem.v.at(i, 0) = 1, problem.a.at(i, 1) = 0;
    problem.a.at(1, 0) = -std::numeric_limits<float>::infinity(), problem.a.at(2, 0) = std::nanf("");
    problem.v.at(1, 1) = 0;
    const Sums sums = forward(problem);
    CHECK(std::isfinite(sums.row.at(0)));
    CHECK(is_infinity(sums.row.at(1), -1));
    CHECK(std::isnan(sums.row.at(2)));
  }
  {  // the own pair's infinity is in no sum of its row
    Problem problem = draw_part(draw, {2, 3, 1, 0, 0}, 1, DUET_METRIC_INNER);
    problem.a.fill(1);
    problem.v.at(0, 0) = std::numeric_limits<float>::infinity(), problem.v.at(1, 0) = 2, problem.v.at(2, 0) = 3;
    const Sums sums = forward(problem);
    check_close({sums.row.at(0)}, {3 + std::log1p(std::exp(-1.0))}, 1e-6, "the others");
    CHECK(is_infinity(sums.row.at(1), 1));
  }
  for (const int64_t first : {int64_t{-1}, INT64_MAX}) {
    Call call(apart, 1);
    size_t bytes = 0;
    call.inputs.first_row = first;
    FAIL_CALL(duet_alignment_workspace(call.context, &call.inputs, &bytes), DUET_STATUS_INVALID_ARGUMENT,
              "inputs.first_row: expected");
  }
}
