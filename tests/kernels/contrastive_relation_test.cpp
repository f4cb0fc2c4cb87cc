// Losses on a relation of pairs (METHOD.md 5.6 to 5.8): which pairs take part, and the rows that have no loss.
#include "tests/kernels/contrastive_problem.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

// Own pairs alone.
Problem draw_pairs(Draw& draw, Variant variant, int64_t n, int64_t m, int64_t d, float scale) {
  Problem out = draw_problem(draw, variant, n, m, d, scale);
  out.labels_a = out.labels_v = out.group_a = out.group_v = Ints(0, 1);
  return out;
}

// Every loss and gradient is exactly 0.
void check_nothing(Problem& problem) {
  const Losses losses = forward(problem);
  for (const double loss : losses.row.values()) CHECK(loss == 0);
  for (const double loss : losses.column.values()) CHECK(loss == 0);
  CHECK(ones_backward(problem, losses).same_bits(prefilled(problem)));
}

// Rows without negatives have a loss too, where they have several positives.
bool needs_negatives(Variant variant) { return variant != Variant::related; }

}  // namespace

TEST_CASE("a relation of a single pair has neither loss nor gradient") {
  for (const Variant variant : kRelationVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(71);
    Problem own = draw_pairs(draw, variant, 1, 1, 5, 10);
    check_nothing(own);
    own.first_row = 3;  // a negative alone
    check_nothing(own);
    own.first_row = 0, own.exclude_own = true;
    check_nothing(own);
  }
}

TEST_CASE("rows without positives or without negatives have neither loss nor gradient, whatever they hold") {
  const int64_t n = 7, m = 9, d = 5;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Variant variant : kRelationVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(72);
    Problem no_positives = draw_pairs(draw, variant, n, m, d, 10);
    no_positives.first_row = 100;
    check_nothing(no_positives);
    no_positives.first_row = 0, no_positives.exclude_own = true;
    check_nothing(no_positives);
    Problem no_negatives = draw_pairs(draw, variant, n, m, d, 10);
    no_negatives.labels_a = Ints(n, 1).fill(4), no_negatives.labels_v = Ints(m, 1).fill(4);
    if (needs_negatives(variant)) check_nothing(no_negatives);
    no_negatives.group_a = no_negatives.labels_a, no_negatives.group_v = no_negatives.labels_v;
    no_negatives.labels_a = no_negatives.labels_v = Ints(0, 1);
    if (needs_negatives(variant)) check_nothing(no_negatives);
    no_positives.a.at(2, 1) = nan, no_negatives.v.at(3, 0) = nan;
    for (Problem* problem : {&no_positives, &no_negatives}) {
      if (problem == &no_negatives && !needs_negatives(variant)) continue;
      const Losses losses = forward(*problem);
      for (const double loss : losses.row.values()) CHECK(loss == 0);
      for (const double loss : losses.column.values()) CHECK(loss == 0);
    }
  }
}

TEST_CASE("positives by label, by group and of own pairs join in one relation") {
  for (const Variant variant : kRelationVariants) {
    for (const bool labels : {false, true}) {
      for (const bool groups : {false, true}) {
        for (const bool exclude_own : {false, true}) {
          CAPTURE(static_cast<int>(variant));
          CAPTURE(labels);
          CAPTURE(groups);
          CAPTURE(exclude_own);
          const int64_t n = 53, m = 61, d = 17;
          if (!affordable(n * m * d)) continue;
          Draw draw(73);
          Problem problem = draw_pairs(draw, variant, n, m, d, 10);
          if (labels) problem.labels_a = draw.labels(n, 5, 0.3), problem.labels_v = draw.labels(m, 5, 0.3);
          if (groups) problem.group_a = draw.labels(n, 9, 0.5), problem.group_v = draw.labels(m, 9, 0.5);
          problem.exclude_own = exclude_own, problem.first_row = 11, problem.first_column = 3;
          check_problem(problem);
        }
      }
    }
  }
}

TEST_CASE("a relation's unlabelled rows have the positives of their groups and no negative") {
  for (const Variant variant : kRelationVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(74);
    Problem problem = draw_pairs(draw, variant, 4, 4, 6, 10);
    problem.labels_a = numbers_of({-1, 0, 1, -7}), problem.labels_v = numbers_of({0, 0, 1, -1});
    problem.group_a = numbers_of({5, -1, -1, -2}), problem.group_v = numbers_of({-1, 5, -1, -2});
    const Losses losses = check_problem(problem);
    CHECK((losses.row.at(0) == 0) == needs_negatives(variant));  // its own pair and one of its group
    CHECK(losses.row.at(1) != 0);
    CHECK(losses.row.at(3) == 0);  // numbers below 0 are no group, though they be equal
    CHECK(losses.column.at(3) == 0);
    for (const int32_t lowest : {INT32_MIN, INT32_MIN + 1}) {
      Problem extreme = problem;
      extreme.labels_a.at(0) = extreme.labels_v.at(3) = extreme.group_a.at(3) = extreme.group_v.at(3) = lowest;
      CHECK(forward(extreme).same_bits(losses));
    }
  }
}

TEST_CASE("labels that repeat what another relation says give its bits") {
  const int64_t n = 37, m = 41, d = 9;
  for (const Variant variant : kRelationVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(75);
    Problem own = draw_pairs(draw, variant, n, m, d, 10), labelled = own, grouped = own;
    labelled.labels_a = Ints(n, 1), labelled.labels_v = Ints(m, 1);
    for (int64_t i = 0; i < n; ++i) labelled.labels_a.at(i) = static_cast<int32_t>(i);
    for (int64_t j = 0; j < m; ++j) labelled.labels_v.at(j) = static_cast<int32_t>(j);
    grouped.group_a = labelled.labels_a, grouped.group_v = labelled.labels_v;
    labelled.first_row = grouped.first_row = 1000;
    const Losses losses = forward(own);
    CHECK(forward(labelled).same_bits(losses));
    CHECK(forward(grouped).same_bits(losses));
    const Gradients gradients = ones_backward(own, losses);
    CHECK(ones_backward(labelled, losses).same_bits(gradients));
    CHECK(ones_backward(grouped, losses).same_bits(gradients));
  }
}

TEST_CASE("relations at the edges of scale, norms and ties") {
  const int64_t n = 67, m = 71, d = 13;
  for (const Variant variant : kRelationVariants) {
    if (!affordable(n * m * d)) continue;
    for (const float scale : {0.001f, 1000.0f, -5.0f}) {
      if (variant == Variant::circle && scale < 0) continue;  // sums of what grows with its own square: no loss of use
      CAPTURE(static_cast<int>(variant));
      CAPTURE(scale);
      Draw draw(76);
      Problem problem = draw_problem(draw, variant, n, m, d, scale);
      if (scale > 0) check_problem(problem);
      const Losses losses = forward(problem);
      for (const double loss : losses.row.values()) CHECK(std::isfinite(loss));
    }
    for (const float norm : {1e-12f, 1e3f}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(norm);
      Draw draw(77);
      Problem problem = draw_problem(draw, variant, n, m, d, 1);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < d; ++k) problem.a.at(i, k) *= norm;
      check_problem(problem, std::max(1.0f, norm));
    }
    Draw draw(78);
    Problem ties = draw_problem(draw, variant, n, m, d, 10);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < d; ++k) ties.a.at(i, k) = ties.a.at(0, k);
    check_problem(ties);
  }
}

TEST_CASE("circle loss of other margins") {
  const int64_t n = 29, m = 31, d = 7;
  Draw draw(79);
  for (const Variant variant : kRelationVariants) {
    if (variant != Variant::circle) continue;
    for (const float margin : {0.1f, 0.4f, 1.0f}) {
      Problem problem = draw_problem(draw, variant, n, m, d, 16);
      problem.margin = margin;
      check_problem(problem);
    }
    Problem standard = draw_problem(draw, variant, n, m, d, 16), named = standard;
    named.margin = 0.25f;
    CHECK(forward(named).same_bits(forward(standard)));
  }
}

TEST_CASE("infinite rows of a relation show, and take no part without a weight") {
  const int64_t n = 19, m = 23, d = 5;
  for (const Variant variant : kRelationVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(80);
    Problem problem = draw_pairs(draw, variant, n, m, d, 10);
    for (int64_t j = 0; j < m; ++j) problem.v.at(j, 0) = std::abs(problem.v.at(j, 0)) + 0.1f;
    problem.a.at(4, 0) = std::numeric_limits<float>::infinity();
    const Losses losses = forward(problem);
    for (int64_t i = 0; i < n; ++i) CHECK(std::isfinite(losses.row.at(i)) == (i != 4));
    Weights weights{Floats(n, 1).fill(1), Floats(m, 1).fill(0)};
    CHECK(std::isnan(backward(problem, losses, weights, 2, prefilled(problem)).a.at(4, 1)));
    weights.row.at(4) = 0;
    const Gradients gradients = backward(problem, losses, weights, 2, prefilled(problem));
    for (const double value : gradients.a.values()) CHECK(std::isfinite(value));
    CHECK(std::isfinite(gradients.scale.at(0)));
  }
}

TEST_CASE("a relation's numbers are of both sides, its margin a number of at least 0") {
  Draw draw(82);
  for (const Variant variant : kRelationVariants) {
    CAPTURE(static_cast<int>(variant));
    Problem problem = draw_problem(draw, variant, 4, 5, 3, 1);
    Ints numbers_a = Ints(4, 1).fill(0), numbers_v = Ints(5, 1).fill(0);
    Floats floats(5, 1), classes(4, 2), classes_v(5, 2);
    Call call(problem, 1);
    call.workspace();
    size_t bytes = 0;
    const auto refuses = [&](const std::string& message, auto&& change) {
      duet_contrastive_inputs bad = call.inputs;
      change(bad);
      FAIL_CALL(duet_contrastive_workspace(call.context, &bad, &bytes), DUET_STATUS_INVALID_ARGUMENT, message);
    };
    refuses("inputs.labels_v: expected dtype i32",
            [&](auto& in) { in.labels_a = numbers_a.vector(), in.labels_v = {}; });
    refuses("inputs.group_v: expected 5 elements, got 4",
            [&](auto& in) { in.group_a = in.group_v = numbers_a.vector(); });
    refuses("inputs.group_a: expected 4 elements, got 0", [&](auto& in) {
      in.group_a = {nullptr, 0, DUET_DTYPE_I32}, in.group_v = numbers_v.vector();
    });
    refuses("inputs.labels_v: expected dtype i32, got f32",
            [&](auto& in) { in.labels_a = numbers_a.vector(), in.labels_v = floats.vector(); });
    if (variant == Variant::related) {  // multi_positive with labels
      refuses("inputs.class_v: expected 5 x 2, got 0 x 0", [&](auto& in) { in.class_a = classes.matrix(); });
      refuses("inputs.labels_a: expected null with inputs.class_a and class_v",
              [&](auto& in) { in.class_a = classes.matrix(), in.class_v = classes_v.matrix(); });
      refuses("inputs.trust_a: expected null without inputs.class_a and class_v",
              [&](auto& in) { in.trust_a = floats.vector(); });
    } else {
      refuses("inputs.class_a: expected null without multi_positive or sigmoid",
              [&](auto& in) { in.class_a = classes.matrix(); });
      refuses("inputs.trust_a: expected null without multi_positive", [&](auto& in) { in.trust_a = floats.vector(); });
    }
    refuses("inputs.bias: expected null without sigmoid", [&](auto& in) { in.bias = floats.vector(); });
    for (const float margin : {-0.5f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
      refuses(variant == Variant::circle ? "inputs.margin: expected a finite number of at least 0, got "
                                         : "inputs.margin: expected 0 without circle, got ",
              [&](auto& in) { in.margin = margin; });
  }
}
