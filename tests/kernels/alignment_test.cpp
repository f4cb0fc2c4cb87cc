#include "tests/kernels/alignment_problem.h"
#include "tests/support/golden.h"

using namespace duet::test;
using namespace duet::test::alignment;
namespace reference = duet::reference;

namespace {

struct Shape {
  int64_t n, m, d, padding;
};
const Shape kShapes[] = {{1, 1, 1, 0},      {1, 7, 3, 1},      {13, 1, 5, 0},  {31, 67, 33, 3},
                         {129, 257, 16, 0}, {300, 131, 65, 1}, {4100, 3, 2, 0}};
// All scales and scores where that is cheap, one scale elsewhere.
const int64_t kOperationsOfAllScales = 8'000'000;

}  // namespace

TEST_CASE("alignment's log-sum-exps agree with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    if (!affordable_tiles(s.n, s.m, s.d)) continue;
    for (const float scale : values_of({10.0f, 1.0f, 1000.0f})) {
      if (scale != 10 && (s.n > 1000 || !affordable(kOperationsOfAllScales))) continue;
      for (const duet_metric score : kScores) {
        CAPTURE(s.n);
        CAPTURE(scale);
        Draw draw(21);
        Problem problem{draw.unit_rows(s.n, s.d, s.padding), draw.unit_rows(s.m, s.d, s.padding), scale, score};
        const Sums first = forward(problem, 1);
        check_close(first.row.values(), problem.lse_row(), problem.tolerance(),
                    std::string("lse_row ") + kNames[score]);
        check_close(first.column.values(), problem.lse_column(), problem.tolerance(),
                    std::string("lse_column ") + kNames[score]);
        for (const int threads : other_thread_counts()) {
          const Sums again = forward(problem, threads);
          CHECK(again.row.same_bits(first.row));
          CHECK(again.column.same_bits(first.column));
        }
      }
    }
  }
}

TEST_CASE("alignment's gradients agree with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    if (!affordable_tiles(s.n, s.m, s.d)) continue;
    for (const float scale : values_of({10.0f, 1.0f, 1000.0f})) {
      if (scale != 10 && (s.n > 1000 || !affordable(kOperationsOfAllScales))) continue;
      for (const duet_metric score : kScores) {
        CAPTURE(s.n);
        CAPTURE(scale);
        Draw draw(22);
        Problem problem{draw.unit_rows(s.n, s.d, s.padding), draw.unit_rows(s.m, s.d, s.padding), scale, score};
        const Sums lse = forward(problem), weights{draw.normals(s.n, 1), draw.normals(s.m, 1)};
        const Gradients before = prefilled(problem), first = backward(problem, lse, weights, 1, before);
        check_gradients(problem, score_gradient(problem, weights), before, first, problem.tolerance(),
                        rounding(weights));
        for (const int threads : other_thread_counts())
          CHECK(backward(problem, lse, weights, threads, before).same_bits(first));
      }
    }
  }
}

TEST_CASE("alignment in every precision") {
  const int64_t n = 129, m = 257, d = 67;  // beyond a tile of any precision
  if (!affordable_tiles(n, m, d)) return;
  Draw draw(28);
  for (const duet_precision precision :
       {DUET_PRECISION_FP32, DUET_PRECISION_TF32X3, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
    CAPTURE(static_cast<int>(precision));
    Problem problem{draw.unit_rows(n, d), draw.unit_rows(m, d, 1), 10, DUET_METRIC_INNER, precision};
    const Sums lse = forward(problem), weights{draw.normals(n, 1), draw.normals(m, 1)};
    check_close(lse.row.values(), problem.lse_row(), problem.tolerance(), "lse_row");
    check_close(lse.column.values(), problem.lse_column(), problem.tolerance(), "lse_column");
    const Gradients before = prefilled(problem);
    check_gradients(problem, score_gradient(problem, weights), before, backward(problem, lse, weights, 2, before),
                    problem.tolerance(), rounding(weights));
  }
}

TEST_CASE("alignment beyond one sweep block") {
  if (!affordable_tiles(2053, 1031, 4)) return;
  Draw draw(23);
  Problem problem{draw.unit_rows(2053, 4), draw.unit_rows(1031, 4), 10};
  const Sums lse = forward(problem, 1);
  check_close(lse.row.values(), problem.lse_row(), problem.tolerance(), "lse_row");
  check_close(lse.column.values(), problem.lse_column(), problem.tolerance(), "lse_column");
  const Sums weights{draw.normals(2053, 1), draw.normals(1031, 1)};
  const Gradients before = prefilled(problem), first = backward(problem, lse, weights, 1, before);
  check_gradients(problem, score_gradient(problem, weights), before, first, problem.tolerance(), rounding(weights));
  for (const int threads : {2, 8}) {
    const Sums again = forward(problem, threads);
    CHECK(again.row.same_bits(lse.row));
    CHECK(again.column.same_bits(lse.column));
    CHECK(backward(problem, lse, weights, threads, before).same_bits(first));
  }
}

TEST_CASE("the reference's alignment gradients are those of its log-sum-exps") {
  const int64_t n = 4, m = 5, d = 3;
  Draw draw(24);
  for (const duet_metric score : kScores) {
    Problem problem{draw.normals(n, d), draw.normals(m, d), 1.7f, score};
    const Sums weights{draw.normals(n, 1), draw.normals(m, 1)};
    const Doubles a = problem.a.values(), v = problem.v.values();
    const auto loss = [&](const Doubles& a, const Doubles& v, double scale) {
      const Doubles s = reference::scores(a, v, n, m, d, score, scale), row = reference::log_sum_exp_rows(s, n, m),
                    column = reference::log_sum_exp_rows(reference::transposed(s, n, m), m, n);
      double total = 0;
      for (int64_t i = 0; i < n; ++i) total += weights.row.at(i) * row[i];
      for (int64_t j = 0; j < m; ++j) total += weights.column.at(j) * column[j];
      return total;
    };
    const double scale = problem.scale;
    const auto analytic = reference::score_gradients(a, v, n, m, d, score, scale, score_gradient(problem, weights));
    check_close(analytic.a, central_differences([&](const Doubles& at) { return loss(at, v, scale); }, a), 1e-7,
                kNames[score]);
    check_close(analytic.v, central_differences([&](const Doubles& at) { return loss(a, at, scale); }, v), 1e-7,
                kNames[score]);
    check_close({analytic.scale}, central_differences([&](const Doubles& at) { return loss(a, v, at[0]); }, {scale}),
                1e-7, kNames[score]);
  }
}

TEST_CASE("alignment agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    Problem problem{golden.load("A").array(), golden.load("V").array(), static_cast<float>(1 / golden.fact("tau"))};
    // "ties" holds rows of norm up to sqrt(6) / 2
    const double allowed = softmax_tolerance(problem.d(), problem.scale, golden.name() == "ties" ? 1.5 : 1);
    Sums lse = forward(problem);
    check_close(lse.row.values(), golden.load("lse_row").values, allowed, "lse_row");
    check_close(lse.column.values(), golden.load("lse_col").values, allowed, "lse_column");
    Call call(problem, 2);
    Floats p(problem.n(), problem.m(), 3);
    SUCCEED_CALL(duet_alignment_probabilities(
        call.context, &call.inputs,
        sized<duet_alignment_probabilities_outputs>({.lse_row = lse.row.vector(), .probabilities = p.matrix()}),
        call.scratch->view()));
    check_close(p.values(), golden.load("P_row").values, 2 * allowed, "P");  // |dP| <= P (|ds| + |dlse|)
  }
}

TEST_CASE("alignment's probabilities and their gradient") {
  for (const Shape& s : kShapes) {
    if (!affordable_tiles(s.n, s.m, s.d)) continue;
    for (const duet_metric score : kScores) {
      CAPTURE(s.n);
      Draw draw(25);
      Problem problem{draw.unit_rows(s.n, s.d, s.padding), draw.unit_rows(s.m, s.d), 5, score};
      Sums lse = forward(problem);
      const Doubles p = reference::softmax_rows(problem.scores(), s.n, s.m);
      Floats grad_p = draw.normals(s.n, s.m, 1, 2);
      Doubles grad_s(p.size());
      for (int64_t i = 0; i < s.n; ++i) {
        double dot = 0;
        for (int64_t j = 0; j < s.m; ++j) dot += p[i * s.m + j] * grad_p.at(i, j);
        for (int64_t j = 0; j < s.m; ++j) grad_s[i * s.m + j] = p[i * s.m + j] * (grad_p.at(i, j) - dot);
      }
      const Gradients before = prefilled(problem);
      std::unique_ptr<Gradients> first;
      for (const int threads : thread_counts()) {
        Call call(problem, threads);
        Floats out(s.n, s.m, s.padding);
        SUCCEED_CALL(duet_alignment_probabilities(
            call.context, &call.inputs,
            sized<duet_alignment_probabilities_outputs>({.lse_row = lse.row.vector(), .probabilities = out.matrix()}),
            call.scratch->view()));
        check_close(out.values(), p, 2 * problem.tolerance(), "P");
        Gradients into = before;
        SUCCEED_CALL(duet_alignment_probabilities_backward(
            call.context, &call.inputs,
            sized<duet_alignment_probabilities_gradients>({.probabilities = out.matrix(),
                                                           .grad_probabilities = grad_p.matrix(),
                                                           .grad_a = into.a.matrix(),
                                                           .grad_v = into.v.matrix(),
                                                           .grad_scale = into.scale.vector()}),
            call.scratch->view()));
        if (!first) {
          first = std::make_unique<Gradients>(into);
          // P (dP - sum P dP) cancels: the error of P counts against dP itself, and is all there is in a row of one
          // column.
          const double worst = largest(grad_p.values());
          check_gradients(problem, grad_s, before, into, worst * problem.tolerance(), worst * problem.tolerance());
        }
        CHECK(into.same_bits(*first));
      }
    }
  }
}

TEST_CASE("alignment leaves out what is null") {
  Draw draw(26);
  Problem problem{draw.unit_rows(40, 7), draw.unit_rows(23, 7), 10};
  Sums lse = forward(problem), weights{draw.normals(40, 1), draw.normals(23, 1)};
  const duet_vector none{nullptr, 0, DUET_DTYPE_F32};
  Call call(problem, 2);
  Sums half{Floats(40, 1), Floats(23, 1)};
  SUCCEED_CALL(duet_alignment_forward(call.context, &call.inputs,
                                      sized<duet_alignment_outputs>({.lse_row = half.row.vector(), .lse_column = none}),
                                      call.scratch->view()));
  SUCCEED_CALL(duet_alignment_forward(
      call.context, &call.inputs, sized<duet_alignment_outputs>({.lse_row = none, .lse_column = half.column.vector()}),
      call.scratch->view()));
  CHECK(half.row.same_bits(lse.row));
  CHECK(half.column.same_bits(lse.column));

  const Gradients before = prefilled(problem);
  Sums rows_alone = weights, columns_alone = weights;
  rows_alone.column.fill(0), columns_alone.row.fill(0);
  Gradients rows = before, columns = before, untouched = before;
  SUCCEED_CALL(duet_alignment_backward(call.context, &call.inputs,
                                       sized<duet_alignment_gradients>({.lse_row = lse.row.vector(),
                                                                        .lse_column = none,
                                                                        .grad_lse_row = weights.row.vector(),
                                                                        .grad_lse_column = none,
                                                                        .grad_a = rows.a.matrix(),
                                                                        .grad_v = duet_matrix{},
                                                                        .grad_scale = none}),
                                       call.scratch->view()));
  SUCCEED_CALL(duet_alignment_backward(call.context, &call.inputs,
                                       sized<duet_alignment_gradients>({.lse_row = none,
                                                                        .lse_column = lse.column.vector(),
                                                                        .grad_lse_row = none,
                                                                        .grad_lse_column = weights.column.vector(),
                                                                        .grad_a = duet_matrix{},
                                                                        .grad_v = columns.v.matrix(),
                                                                        .grad_scale = columns.scale.vector()}),
                                       call.scratch->view()));
  SUCCEED_CALL(duet_alignment_backward(call.context, &call.inputs,
                                       sized<duet_alignment_gradients>({.lse_row = none,
                                                                        .lse_column = none,
                                                                        .grad_lse_row = none,
                                                                        .grad_lse_column = none,
                                                                        .grad_a = untouched.a.matrix(),
                                                                        .grad_v = untouched.v.matrix(),
                                                                        .grad_scale = untouched.scale.vector()}),
                                       call.scratch->view()));
  CHECK(untouched.same_bits(before));
  CHECK(rows.v.same_bits(before.v));
  CHECK(rows.scale.same_bits(before.scale));
  CHECK(columns.a.same_bits(before.a));
  check_relative(rows.a.values(), backward(problem, lse, rows_alone, 2, before).a.values(), 2e-6, "rows alone");
  check_relative(columns.v.values(), backward(problem, lse, columns_alone, 2, before).v.values(), 2e-6,
                 "columns alone");
}

TEST_CASE("parts of an alignment merge by log-add-exp, and their gradients add up") {
  const int64_t n = 70, m = 90, d = 9, rows = 33, columns = 41;
  Draw draw(27);
  Problem problem{draw.unit_rows(n, d), draw.unit_rows(m, d), 20};
  Sums whole = forward(problem), weights{draw.normals(n, 1), draw.normals(m, 1)};
  const Gradients before = prefilled(problem), expected = backward(problem, whole, weights, 2, before);
  Gradients sum = before;
  Doubles row(static_cast<size_t>(n), -std::numeric_limits<double>::infinity()), column(static_cast<size_t>(m), row[0]);
  const auto log_add = [](double& into, double x) {
    const double high = std::max(into, x), low = std::min(into, x);
    into = high + std::log1p(std::exp(low - high));
  };
  for (const int64_t i : {int64_t{0}, rows}) {
    for (const int64_t j : {int64_t{0}, columns}) {
      const int64_t part_n = i ? n - rows : rows, part_m = j ? m - columns : columns;
      Call call(problem, 2);
      call.inputs.a = problem.a.part(i, 0, part_n, d), call.inputs.v = problem.v.part(j, 0, part_m, d);
      Sums part{Floats(part_n, 1), Floats(part_m, 1)};
      SUCCEED_CALL(duet_alignment_forward(
          call.context, &call.inputs,
          sized<duet_alignment_outputs>({.lse_row = part.row.vector(), .lse_column = part.column.vector()}),
          call.scratch->view()));
      for (int64_t r = 0; r < part_n; ++r) log_add(row[static_cast<size_t>(i + r)], part.row.at(r));
      for (int64_t c = 0; c < part_m; ++c) log_add(column[static_cast<size_t>(j + c)], part.column.at(c));
      const auto piece = [](Floats& of, int64_t first, int64_t count) { return duet_f32_vector(&of.at(first), count); };
      SUCCEED_CALL(
          duet_alignment_backward(call.context, &call.inputs,
                                  sized<duet_alignment_gradients>({.lse_row = piece(whole.row, i, part_n),
                                                                   .lse_column = piece(whole.column, j, part_m),
                                                                   .grad_lse_row = piece(weights.row, i, part_n),
                                                                   .grad_lse_column = piece(weights.column, j, part_m),
                                                                   .grad_a = sum.a.part(i, 0, part_n, d),
                                                                   .grad_v = sum.v.part(j, 0, part_m, d),
                                                                   .grad_scale = sum.scale.vector()}),
                                  call.scratch->view()));
    }
  }
  check_close(row, whole.row.values(), problem.tolerance(), "merged rows");
  check_close(column, whole.column.values(), problem.tolerance(), "merged columns");
  check_relative(sum.a.values(), expected.a.values(), 2e-6, "grad_a");
  check_relative(sum.v.values(), expected.v.values(), 2e-6, "grad_v");
}

TEST_CASE("alignment of nothing, of wild norms, of NaN") {
  Draw draw(28);
  for (const auto& [n, m] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {0, 0}})
    for (const duet_metric score : kScores)
      for (const float value : values_of(
               {1.0f, std::nanf(""), std::numeric_limits<float>::infinity()})) {  // not even 0 times a NaN is added
        Problem problem{draw.normals(n, 3), draw.normals(m, 3), 10, score};
        for (Floats* rows : {&problem.a, &problem.v})
          if (rows->rows() > 0) rows->at(0, 1) = value;
        const Sums lse = forward(problem), weights{draw.normals(n, 1), draw.normals(m, 1)};
        const Doubles nothing(static_cast<size_t>(n + m), -std::numeric_limits<double>::infinity());
        check_close(lse.row.values(), Doubles(nothing.begin(), nothing.begin() + n), 0, "no columns");
        check_close(lse.column.values(), Doubles(nothing.begin(), nothing.begin() + m), 0, "no rows");
        const Gradients before = prefilled(problem);
        CHECK(backward(problem, lse, weights, 2, before).same_bits(before));
      }
  {  // norms from 1e-3 to 1e3 in one tile: every row and column needs a shift of its own
    Problem problem{draw.normals(67, 8), draw.normals(300, 8), 1};
    for (int64_t i = 0; i < 67; ++i)
      for (int64_t k = 0; k < 8; ++k) problem.a.at(i, k) *= std::pow(10.0f, static_cast<float>(i % 7) - 3);
    const Sums lse = forward(problem), weights{draw.normals(67, 1), draw.normals(300, 1)};
    const double allowed = softmax_tolerance(8, 1, 1e3 * 25);  // rows of norm up to 5e3, columns up to 5
    check_close(lse.row.values(), problem.lse_row(), allowed, "wild lse_row");
    check_close(lse.column.values(), problem.lse_column(), allowed, "wild lse_column");
    const Gradients before = prefilled(problem);
    check_gradients(problem, score_gradient(problem, weights), before, backward(problem, lse, weights, 2, before),
                    allowed, rounding(weights));
  }
  {  // a NaN row: its own sum and every column's, no other row's
    Problem problem{draw.unit_rows(40, 6), draw.unit_rows(50, 6), 10};
    const Sums clean = forward(problem);
    problem.a.at(17, 2) = std::numeric_limits<float>::quiet_NaN();
    const Sums lse = forward(problem);
    for (int64_t i = 0; i < 40; ++i) CHECK(std::isnan(lse.row.at(i)) == (i == 17));
    for (int64_t j = 0; j < 50; ++j) CHECK(std::isnan(lse.column.at(j)));
    CHECK(lse.row.at(16) == doctest::Approx(clean.row.at(16)));
    Sums weights{draw.normals(40, 1), draw.normals(50, 1)};
    const Gradients after = backward(problem, lse, weights, 2, prefilled(problem));
    CHECK(std::isnan(after.a.at(0, 0)));
    CHECK(std::isnan(after.v.at(0, 0)));
    CHECK(std::isnan(after.scale.at(0)));
    weights.column.fill(0);  // what has no weight takes no part, though its sum is NaN
    const Gradients of_rows = backward(problem, lse, weights, 2, prefilled(problem));
    for (int64_t i = 0; i < 40; ++i) CHECK(std::isnan(of_rows.a.at(i, 0)) == (i == 17));
  }
}

TEST_CASE("alignment refuses misuse") {
  Draw draw(29);
  Problem problem{draw.normals(4, 3), draw.normals(5, 3), 1};
  Call call(problem, 1);
  Floats row(4, 1), column(5, 1), narrow(5, 2), short_row(3, 1);
  const duet_workspace scratch = call.scratch->view();
  auto bad = call.inputs;
  bad.v = narrow.matrix();
  FAIL_CALL(duet_alignment_forward(
                call.context, &bad,
                sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}), scratch),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.v: expected any x 3, got 5 x 2");
  bad = call.inputs, bad.scale = {};
  FAIL_CALL(duet_alignment_forward(
                call.context, &bad,
                sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}), scratch),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.scale");
  FAIL_CALL(duet_alignment_forward(
                call.context, nullptr,
                sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}), scratch),
            DUET_STATUS_INVALID_ARGUMENT, "inputs: null");
  FAIL_CALL(duet_alignment_forward(
                call.context, &call.inputs,
                sized<duet_alignment_outputs>({.lse_row = short_row.vector(), .lse_column = column.vector()}), scratch),
            DUET_STATUS_INVALID_ARGUMENT, "lse_row: expected 4 elements, got 3");
  FAIL_CALL(
      duet_alignment_forward(call.context, &call.inputs,
                             sized<duet_alignment_outputs>({.lse_row = row.vector(), .lse_column = column.vector()}),
                             (duet_workspace{scratch.data, scratch.bytes - 1})),
      DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
  FAIL_CALL(duet_alignment_backward(call.context, &call.inputs,
                                    sized<duet_alignment_gradients>({.lse_row = duet_vector{},
                                                                     .lse_column = column.vector(),
                                                                     .grad_lse_row = row.vector(),
                                                                     .grad_lse_column = column.vector(),
                                                                     .grad_a = duet_matrix{},
                                                                     .grad_v = duet_matrix{},
                                                                     .grad_scale = duet_vector{}}),
                                    scratch),
            DUET_STATUS_INVALID_ARGUMENT, "lse_row");
  FAIL_CALL(duet_alignment_probabilities(call.context, &call.inputs,
                                         sized<duet_alignment_probabilities_outputs>(
                                             {.lse_row = row.vector(), .probabilities = narrow.matrix()}),
                                         scratch),
            DUET_STATUS_INVALID_ARGUMENT, "probabilities: expected 4 x 5");
}
