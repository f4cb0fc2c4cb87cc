// Groups and left-out own pairs of InfoNCE, multi_positive and the sigmoid loss (METHOD.md 5.3, 5.4), by their edges.
#include "tests/kernels/contrastive_problem.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

constexpr Variant kGroupVariants[] = {Variant::multi_positive_groups, Variant::sigmoid_groups,
                                      Variant::sigmoid_soft_groups, Variant::related};

// Numbers from first on.
Ints counted_from(int64_t count, int32_t first) {
  Ints out(count, 1);
  for (int64_t i = 0; i < count; ++i) out.at(i) = first + static_cast<int32_t>(i);
  return out;
}

// Groups alone; none drawn.
Problem draw_groups(Draw& draw, Variant variant, int64_t n, int64_t m, int64_t d, float scale) {
  Problem out = draw_problem(draw, variant, n, m, d, scale);
  out.labels_a = out.labels_v = Ints(0, 1);
  out.group_a = Ints(n, 1).fill(-1), out.group_v = Ints(m, 1).fill(-1);
  return out;
}

// The kind that knows no groups.
Variant without_groups(Variant variant) {
  switch (variant) {
    case Variant::multi_positive_groups: return Variant::multi_positive;
    case Variant::sigmoid_groups: return Variant::sigmoid;
    case Variant::sigmoid_soft_groups: return Variant::sigmoid_soft;
    default: return Variant::infonce;
  }
}
Problem plain_of(const Problem& problem) {
  Problem out = problem;
  out.variant = without_groups(problem.variant), out.exclude_own = false;
  out.group_a = out.group_v = Ints(0, 1);
  return out;
}

// The losses and gradients of two problems, which may take other ways to them.
void check_same(Problem& problem, Problem& other) {
  const Losses losses = forward(problem), expected = forward(other);
  check_close(losses.row.values(), expected.row.values(), problem.tolerance(), "row_loss");
  if (!problem.is_sigmoid())
    check_close(losses.column.values(), expected.column.values(), problem.tolerance(), "column_loss");
  const Gradients after = ones_backward(problem, losses), wanted = ones_backward(other, expected);
  const double floor = 2e-7 * problem.scale;
  check_relative(after.a.values(), wanted.a.values(), 2 * problem.gradient_tolerance(), "grad_a", floor);
  check_relative(after.v.values(), wanted.v.values(), 2 * problem.gradient_tolerance(), "grad_v", floor);
}

}  // namespace

TEST_CASE("all rows in one group") {
  for (const Variant variant : kGroupVariants)
    for (const bool exclude_own : {false, true}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(exclude_own);
      Draw draw(201);
      Problem problem = draw_groups(draw, variant, 33, 35, 9, 10);
      problem.group_a.fill(7), problem.group_v.fill(7), problem.exclude_own = exclude_own;
      const Losses losses = check_problem(problem);
      // Nothing but positives: what is left to lose is the spread of a row's own softmax.
      if (variant == Variant::related)
        for (const double loss : losses.row.values()) CHECK(loss > std::log(32.0) - 1e-5);
    }
}

TEST_CASE("groups of a single pair, and numbers below 0, are own pairs alone") {
  const int64_t n = 37, m = 41, d = 9;
  for (const Variant variant : kGroupVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(202);
    Problem problem = draw_groups(draw, variant, n, m, d, 10);
    problem.first_row = 2, problem.first_column = 5;
    Problem plain = plain_of(problem);
    check_problem(problem);
    check_same(problem, plain);
    if (variant == Variant::sigmoid_soft_groups) continue;  // whose own pairs have the W of their classes
    Problem grouped = problem;
    grouped.group_a = counted_from(n, 2), grouped.group_v = counted_from(m, 5);
    CHECK(forward(grouped).same_bits(forward(problem)));
    grouped.first_row = 1000;  // the own pairs are no longer here, but their groups are
    check_problem(grouped);
    check_same(grouped, plain);
  }
}

TEST_CASE("groups that cross a batch's parts have positives where no own pair is") {
  for (const Variant variant : kGroupVariants)
    for (const bool exclude_own : {false, true}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(exclude_own);
      Draw draw(203);
      Problem problem = draw_groups(draw, variant, 6, 7, 5, 10);
      problem.first_row = 100, problem.exclude_own = exclude_own;
      problem.group_a = numbers_of({0, 0, 3, -1, 2147483647, 9}),
      problem.group_v = numbers_of({3, 0, -1, 0, 5, 2147483647, 3});
      const Losses losses = check_problem(problem);
      if (variant != Variant::related) continue;
      for (const int64_t i : {3, 5}) CHECK(losses.row.at(i) == 0);
      for (const int64_t i : {0, 1, 2, 4}) CHECK(losses.row.at(i) > 0);
    }
}

TEST_CASE("own pairs that are left out of parts that do not meet are none") {
  for (const Variant variant : kGroupVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(204);
    Problem problem = draw_groups(draw, variant, 19, 23, 5, 10);
    problem.group_a = draw.labels(19, 4, 0.3), problem.group_v = draw.labels(23, 4, 0.3);
    problem.first_row = 23;
    const Losses losses = forward(problem);
    problem.exclude_own = true;
    CHECK(forward(problem).same_bits(losses));
    problem.first_row = 22;  // one own pair, of row 0
    CHECK(!forward(problem).row.same_bits(losses.row));
    check_problem(problem);
  }
}

TEST_CASE("one pair that is left out has neither loss nor gradient") {
  for (const Variant variant : kGroupVariants)
    for (const bool grouped : {false, true}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(grouped);
      Draw draw(205);
      Problem problem = draw_groups(draw, variant, 1, 1, 5, 10);
      problem.exclude_own = true;
      if (grouped) problem.group_a.fill(3), problem.group_v.fill(3);
      const Losses losses = forward(problem);
      CHECK(losses.row.at(0) == 0);
      CHECK(ones_backward(problem, losses).same_bits(prefilled(problem)));
      problem.a.at(0, 2) = std::numeric_limits<float>::quiet_NaN();
      CHECK(forward(problem).row.at(0) == 0);
    }
}

TEST_CASE("what a group says counts, whatever labels and classes say") {
  Draw draw(206);
  Problem related = draw_problem(draw, Variant::related, 4, 4, 6, 10);
  related.labels_a = numbers_of({0, 1, 2, -1}), related.labels_v = numbers_of({0, 1, 2, 3});
  related.group_a = numbers_of({8, -1, -1, 9}), related.group_v = numbers_of({-1, 8, 9, -1});
  CHECK(related.relation().positive[1] == 1);
  CHECK(related.relation().positive[14] == 1);
  check_problem(related);
  Problem soft = draw_groups(draw, Variant::sigmoid_soft_groups, 3, 3, 6, 10);
  soft.class_a.fill(0), soft.class_v.fill(0);
  for (int64_t i = 0; i < 3; ++i) soft.class_a.at(i, 0) = soft.class_v.at(i, 1) = 1;  // nothing agrees
  soft.group_a = numbers_of({4, 4, -1}), soft.group_v = numbers_of({-1, 4, 4});
  check_problem(soft);
  Problem weighted = soft;  // and whatever the trust
  weighted.variant = Variant::multi_positive_groups, weighted.paired = false;
  weighted.trust_a.fill(0), weighted.trust_v.fill(0);
  const Losses losses = check_problem(weighted);
  for (const int64_t i : {0, 1}) CHECK(losses.row_statistics.at(i, 1) == 2);
  CHECK(losses.row_statistics.at(2, 1) == 0);
  soft.class_a.at(0, 0) = std::numeric_limits<float>::quiet_NaN();
  soft.group_v.fill(4);  // W is 1 there
  CHECK(std::isfinite(forward(soft).row.at(0)));
}

TEST_CASE("own pairs that are left out are not seen, though their scores be infinite or NaN") {
  constexpr Variant kVariants[] = {
      Variant::decoupled,           Variant::ntxent, Variant::related, Variant::sigmoid_groups,
      Variant::sigmoid_soft_groups, Variant::circle};
  const int64_t n = 5;
  for (const Variant variant : kVariants)
    for (const float scale : {1.0f, -1.0f, 0.0f}) {  // times a dot of infinity, in the end NaN
      CAPTURE(static_cast<int>(variant));
      CAPTURE(scale);
      Draw draw(207);
      Problem problem = draw_groups(draw, variant, n, n, n, scale);
      problem.a.fill(0), problem.v.fill(0);
      for (int64_t i = 0; i < n; ++i) problem.a.at(i, i) = problem.v.at(i, i) = 1e20f;
      problem.group_a = numbers_of({0, 0, 0, 1, 1}), problem.group_v = problem.group_a;
      problem.exclude_own = true;
      const Losses losses = forward(problem);
      for (const double loss : losses.row.values()) CHECK(std::isfinite(loss));
      const Gradients gradients = ones_backward(problem, losses);
      for (const Floats* side : {&gradients.a, &gradients.v})
        for (const double value : side->values()) CHECK(std::isfinite(value));
      CHECK(std::isfinite(gradients.scale.at(0)));
      problem.exclude_own = false;
      if (scale == 0) CHECK(std::isnan(forward(problem).row.at(0)));
    }
}

TEST_CASE("NaN rows of groups show, and take no part without a weight") {
  const int64_t n = 19, m = 23, d = 5;
  for (const Variant variant : kGroupVariants)
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(bad);
      Draw draw(208);
      Problem problem = draw_groups(draw, variant, n, m, d, 10);
      problem.group_a = draw.labels(n, 3, 0.3), problem.group_v = draw.labels(m, 3, 0.3);
      for (int64_t j = 0; j < m; ++j) problem.v.at(j, 0) = std::abs(problem.v.at(j, 0)) + 0.1f;
      problem.a.at(4, 0) = bad;
      const Losses losses = forward(problem);
      for (int64_t i = 0; i < n; ++i) CHECK(std::isfinite(losses.row.at(i)) == (i != 4));
      Weights weights{Floats(n, 1).fill(1), Floats(m, 1).fill(0)};
      weights.row.at(4) = 0;
      const Gradients gradients = backward(problem, losses, weights, 2, prefilled(problem));
      for (const double value : gradients.a.values()) CHECK(std::isfinite(value));
      CHECK(std::isfinite(gradients.scale.at(0)));
      CHECK(std::isfinite(gradients.bias.at(0)));
    }
}

TEST_CASE("InfoNCE with several positives keeps the accuracy of each of its terms") {
  const int64_t n = 6;
  for (const float scale : values_of({1000.0f, 100.0f, 1.0f, -10.0f})) {
    CAPTURE(scale);
    Draw draw(209);
    Problem problem = draw_groups(draw, Variant::related, n, n, n, scale);
    problem.v.fill(0);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        problem.v.at(j, j) = 1, problem.a.at(i, j) = 0.125f * static_cast<float>((5 * i + 3 * j) % 7);
    problem.group_a = numbers_of({0, 0, 1, 1, 1, -1}), problem.group_v = numbers_of({0, 0, 1, 1, -1, -1});
    const Losses losses = check_problem(problem);
    // v is the identity: grad_a holds d loss/d score times scale, each within METHOD.md 5's r of its parts.
    const Weights weights{Floats(n, 1).fill(1), Floats(n, 1).fill(0)};
    Gradients zero = prefilled(problem);
    zero.a.fill(0);
    const Doubles after = backward(problem, losses, weights, 2, zero).a.values();
    const auto expected = problem.rows(problem.scores(), weights.row.values());
    const double relative = 4 * 6e-8 * std::abs(scale) + 2e-6;
    check_parts(after, times(expected.grad_s, scale), times(expected.parts, std::abs(scale)), relative, "grad_a",
                4e-21 * std::abs(scale));
  }
}
