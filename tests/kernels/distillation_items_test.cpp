// Distillation with groups of rows, and without own pairs.
#include "tests/kernels/distillation_problem.h"

using namespace duet::test;
using namespace duet::test::distillation;
namespace reference = duet::reference;

namespace {

struct Part {
  int64_t n, m, first_row, first_column;
};

void remove_classes(Problem& problem) {
  problem.has_classes = false;
  problem.class_a = Floats(problem.n(), 0), problem.class_v = Floats(problem.m(), 0);
  problem.trust_a = problem.trust_v = Floats(0, 1);
  if (!problem.has_groups()) problem.kappa_a.fill(0), problem.kappa_v.fill(0);
}

void give_groups(Draw& draw, Problem& problem, int64_t groups) {
  problem.group_a = draw.labels(problem.n(), groups, 0.3), problem.group_v = draw.labels(problem.m(), groups, 0.3);
}

// Forward and backward against the reference, whatever the threads.
void check(Problem& problem, Draw& draw, double more = 0) {
  const Losses first = forward(problem, 1);
  check_losses(problem, first, problem.tolerance() + more);
  const Weights weights{draw.choice(problem.n(), {1, 0.3, 0, -0.5}), draw.choice(problem.m(), {1, 0.3, 0, -0.5})};
  const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
  check_gradients(problem, weights, before, gradients, problem.tolerance());
  for (const int threads : other_thread_counts()) {
    CHECK(forward(problem, threads).same_bits(first));
    CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
  }
}

Ints numbers(const std::vector<int32_t>& values) {
  Ints out(static_cast<int64_t>(values.size()), 1);
  for (int64_t i = 0; i < out.rows(); ++i) out.at(i) = values[static_cast<size_t>(i)];
  return out;
}

}  // namespace

TEST_CASE("distillation with classes, groups, own pairs and without them agrees with the reference") {
  for (const Part& part : {Part{1, 1, 0, 0},
                           {1, 1, 0, 1},
                           {1, 5, 7, 5},
                           {6, 1, 2, 5},
                           {31, 67, 20, 11},
                           {67, 31, 0, 60},
                           {40, 40, 100, 40},
                           {130, 130, 0, 0},
                           {300, 263, 7, 0}}) {
    if (!affordable_tiles(part.n, part.m, 18)) continue;
    for (const auto& scales : values_of<std::pair<float, float>>({{10, 5}, {1000, 1000}, {1000, 2}})) {
      if (scales.first != 10 && part.n > 100) continue;
      for (const int what : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const bool classes = what & 1, groups = what & 2, exclude_own = what & 4;
        if (!classes && !groups && !exclude_own) continue;
        CAPTURE(part.n);
        CAPTURE(part.m);
        CAPTURE(scales.first);
        CAPTURE(classes);
        CAPTURE(groups);
        CAPTURE(exclude_own);
        Draw draw(71);
        Problem problem = draw_problem(draw, part.n, part.m, 9, scales.first, scales.second, 3, 1);
        problem.paired = true, problem.first_row = part.first_row, problem.first_column = part.first_column;
        problem.exclude_own = exclude_own;
        if (groups) give_groups(draw, problem, part.n / 3 + 1);
        if (!classes) remove_classes(problem);
        // Of low temperatures float32 products, off by 1e-7, count more than METHOD.md's terms.
        check(problem, draw, scales.second >= 1000 ? 1e-7 * scales.second * problem.teacher_condition() : 0);
      }
    }
  }
}

TEST_CASE("distillation with all rows in one group, every row in its own, in none, and against its class and trust") {
  const int64_t n = 37, m = 41;
  Draw draw(72);
  Problem problem = draw_problem(draw, n, m, 6, 10, 5);
  problem.group_a = Ints(n, 1), problem.group_v = Ints(m, 1);
  problem.group_a.fill(INT32_MAX), problem.group_v.fill(INT32_MAX);
  {  // all of them: pos is 1 everywhere, whatever classes and trust say
    check(problem, draw);
    Problem without = problem;
    remove_classes(without);
    const Losses losses = forward(problem), same = forward(without);
    check_close(losses.row.values(), same.row.values(), 1e-6, "classes do not count");
    for (int64_t i = 0; i < n; ++i) CHECK(losses.row_statistics.at(i, 2) == m);
  }
  for (int64_t i = 0; i < n; ++i) problem.group_a.at(i) = static_cast<int32_t>(i);
  for (int64_t j = 0; j < m; ++j) problem.group_v.at(j) = static_cast<int32_t>(j);
  {  // each its own: what own pairs of a paired batch are
    Problem paired = problem;
    paired.paired = true, paired.group_a = paired.group_v = Ints(0, 1);
    const Losses losses = forward(problem), own = forward(paired);
    check(problem, draw);
    check_close(losses.row.values(), own.row.values(), 2 * problem.tolerance(), "own pairs");
    check_close(losses.column.values(), own.column.values(), 2 * problem.tolerance(), "own pairs");
    Problem both = problem;  // an own pair that is of one group as well counts once
    both.paired = true;
    CHECK(forward(both).same_bits(own));
  }
  for (const int32_t none : {-1, INT32_MIN}) {
    problem.group_a.fill(none), problem.group_v.fill(none);
    Problem without = problem;
    without.group_a = without.group_v = Ints(0, 1);
    for (const bool paired : {false, true}) {
      problem.paired = without.paired = paired;
      check_close(forward(problem).row.values(), forward(without).row.values(), 2 * problem.tolerance(), "no groups");
      check(problem, draw);
    }
  }
  {  // a group whose rows' classes differ and whose trust is 0
    Problem apart = draw_problem(draw, 4, 4, 6, 10, 5, 2);
    apart.trust_a.fill(0), apart.trust_v.fill(0);
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t c = 0; c < 2; ++c) apart.class_a.at(i, c) = c == 0, apart.class_v.at(i, c) = c == 1;
    apart.group_a = numbers({3, 3, -1, 0}), apart.group_v = numbers({0, 3, -1, -1});
    const Losses losses = forward(apart);
    check(apart, draw);
    CHECK(losses.row_statistics.at(0, 2) == 1);
    CHECK(losses.row_statistics.at(2, 2) == 0);
    CHECK(losses.column_statistics.at(1, 2) == 2);
  }
}

TEST_CASE("distillation of one pair that takes no part has no loss and no gradient") {
  for (const bool groups : {false, true}) {
    Draw draw(73);
    Problem problem = draw_problem(draw, 1, 1, 5, 10, 5);
    problem.exclude_own = true;
    if (groups) problem.group_a = problem.group_v = numbers({7});
    problem.a.at(0, 2) = std::nanf("");  // not even of a NaN
    const Losses losses = forward(problem);
    const float none = -std::numeric_limits<float>::infinity();
    for (const Floats* of : {&losses.row_statistics, &losses.column_statistics}) {
      CHECK(of->at(0, 0) == none);
      CHECK(of->at(0, 1) == none);
      CHECK(of->at(0, 2) == 0);
      CHECK(of->at(0, 3) == none);
      CHECK(of->at(0, 4) == none);
    }
    CHECK(losses.row.at(0) == 0);
    CHECK(losses.column.at(0) == 0);
    problem.a.at(0, 2) = 0;
    const Gradients before = prefilled(problem);
    CHECK(backward(problem, losses, {draw.choice(1, {1}), draw.choice(1, {1})}, 1, before).same_bits(before));
  }
}

TEST_CASE("distillation without own pairs: log-odds, a NaN, an infinity") {
  const int64_t n = 20, m = 30;
  Draw draw(74);
  Problem problem = draw_problem(draw, n, m, 4, 10, 5);
  problem.exclude_own = true, problem.first_row = 4;
  give_groups(draw, problem, 6);
  Losses losses = forward(problem);
  for (int64_t i = 0; i < n; ++i)
    for (const int64_t odds : {3, 4})
      CHECK(losses.row_statistics.at(i, odds) == -std::numeric_limits<float>::infinity());
  Problem unpaired = problem;
  unpaired.paired = !problem.paired;  // says nothing
  CHECK(forward(unpaired).same_bits(losses));
  problem.v.at(7, 1) = std::nanf("");  // row 3's own column
  losses = forward(problem);
  for (int64_t i = 0; i < n; ++i) CHECK(std::isnan(losses.row.at(i)) == (i != 3));
  problem.v.at(7, 1) = std::numeric_limits<float>::infinity();
  problem.a.at(3, 1) = 1;
  CHECK(std::isfinite(forward(problem).row.at(3)));
}

TEST_CASE("distillation's gradients with groups and without own pairs are those of its losses") {
  const int64_t n = 4, m = 5, d = 3;
  Draw draw(75);
  Problem problem = draw_problem(draw, n, m, d, 1.7f, 2);
  problem.exclude_own = true, problem.first_row = 1;
  problem.group_a = numbers({2, 0, -1, 2}), problem.group_v = numbers({0, 2, 2, -1, 1});
  const Weights weights{draw.normals(n, 1), draw.normals(m, 1)};
  Gradients zeros{Floats(n, d), Floats(m, d), Floats(1, 1)};
  zeros.a.fill(0), zeros.v.fill(0), zeros.scale.fill(0);
  const Losses losses = forward(problem);
  const Gradients found = backward(problem, losses, weights, 1, zeros);
  const auto loss = [&](const Doubles& a, const Doubles& v, double scale) {
    const Doubles s = problem.without_excluded(reference::scores(a, v, n, m, d, DUET_METRIC_INNER, scale));
    const Doubles rows = problem.rows(s, weights.row.values()).loss,
                  columns = problem.columns(s, weights.column.values()).loss;
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += weights.row.at(i) * rows[static_cast<size_t>(i)];
    for (int64_t j = 0; j < m; ++j) total += weights.column.at(j) * columns[static_cast<size_t>(j)];
    return total;
  };
  const Doubles a = problem.a.values(), v = problem.v.values();
  const double scale = problem.scale, allowed = 3e-6;  // float32 beside differences of 1e-6
  check_close(found.a.values(), central_differences([&](const Doubles& at) { return loss(at, v, scale); }, a), allowed,
              "grad_a");
  check_close(found.v.values(), central_differences([&](const Doubles& at) { return loss(a, at, scale); }, v), allowed,
              "grad_v");
  check_close(found.scale.values(), central_differences([&](const Doubles& at) { return loss(a, v, at[0]); }, {scale}),
              allowed, "grad_scale");
}

TEST_CASE("groups cross the parts of a distillation") {
  const int64_t n = 71, m = 90, d = 7, cut = 40;
  Draw draw(76);
  for (const bool exclude_own : {false, true}) {
    Problem problem = draw_problem(draw, n, m, d, 10, 10);
    problem.paired = true, problem.exclude_own = exclude_own, problem.first_row = 3, problem.first_column = 10;
    give_groups(draw, problem, 9);
    const Doubles whole = forward(problem).row.values();
    for (const int64_t first : {int64_t{0}, cut}) {
      const int64_t count = first ? n - cut : cut;
      Call call(problem, 2);
      const auto piece = [&](auto& of) {
        auto view = of.vector();
        view.data = &of.at(first), view.size = count;
        return view;
      };
      call.inputs.student_a = problem.a.part(first, 0, count, d);
      call.inputs.teacher_a = problem.teacher_a.part(first, 0, count, d + 2);
      call.inputs.class_a = problem.class_a.part(first, 0, count, 4);
      call.inputs.trust_a = piece(problem.trust_a), call.inputs.kappa_a = piece(problem.kappa_a);
      call.inputs.group_a = piece(problem.group_a);
      call.inputs.first_row += first;
      Losses part(count, m);
      forward(call, part);
      check_close(part.row.values(), Doubles(whole.begin() + first, whole.begin() + first + count), problem.tolerance(),
                  "row part");
    }
  }
}

TEST_CASE("distillation refuses groups of one side, and kappa without an agreement") {
  Draw draw(77);
  Problem problem = draw_problem(draw, 4, 5, 3, 10, 5);
  give_groups(draw, problem, 2);
  const auto refuses = [&](const char* message, auto&& change) {
    Call call(problem, 1);
    change(call.inputs);
    size_t bytes = 0;
    FAIL_CALL(duet_distillation_workspace(call.context, &call.inputs, &bytes), DUET_STATUS_INVALID_ARGUMENT, message);
  };
  refuses("inputs.group_v: expected dtype i32", [](auto& in) { in.group_v = duet_const_vector{}; });
  refuses("inputs.group_a: expected dtype i32", [](auto& in) { in.group_a = duet_const_vector{}; });
  refuses("inputs.group_v: expected 5 elements, got 4", [](auto& in) { in.group_v = in.group_a; });
  refuses("inputs.kappa_a: expected null without inputs.class_a and class_v", [](auto& in) {
    in.class_a = in.class_v = duet_const_matrix{};
    in.trust_a = in.trust_v = in.group_a = in.group_v = duet_const_vector{};
  });
  refuses("inputs.trust_a: expected null without inputs.class_a and class_v",
          [](auto& in) { in.class_a = in.class_v = duet_const_matrix{}; });
}
