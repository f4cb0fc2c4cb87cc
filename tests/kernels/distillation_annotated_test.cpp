// Distillation with annotated rows, which may have several classes.
#include "tests/kernels/distillation_problem.h"
#include "tests/support/annotated_rows.h"
#include "tests/support/gradcheck.h"

using namespace duet::test;
using namespace duet::test::distillation;
namespace reference = duet::reference;

namespace {

Problem draw_annotated(Draw& draw, int64_t n, int64_t m, int64_t classes, double share) {
  Problem out = draw_problem(draw, n, m, 9, 10, 5, classes, 1);
  out.annotated_a = annotate(draw, out.class_a, share), out.annotated_v = annotate(draw, out.class_v, share);
  return out;
}

// Forward and backward against the reference, whatever the threads.
void check(Problem& problem, Draw& draw) {
  const Losses first = forward(problem, 1);
  check_losses(problem, first, problem.tolerance());
  const Weights weights{draw.choice(problem.n(), {1, 0.3, 0, -0.5}), draw.choice(problem.m(), {1, 0.3, 0, -0.5})};
  const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
  check_gradients(problem, weights, before, gradients, problem.tolerance());
  for (const int threads : other_thread_counts()) {
    CHECK(forward(problem, threads).same_bits(first));
    CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
  }
}

}  // namespace

TEST_CASE("distillation with annotated rows agrees with the reference") {
  struct Shape {
    int64_t n, m, classes;
  };
  for (const Shape& shape :
       values_of<Shape>({{1, 1, 1}, {1, 5, 2}, {6, 1, 3}, {130, 130, 33}, {300, 263, 7}, {31, 67, 5}})) {
    if (!affordable_tiles(shape.n, shape.m, 18)) continue;
    for (const double share : {0.5, 1.0})
      for (const bool groups : {false, true})
        for (const bool exclude_own : {false, true}) {
          CAPTURE(shape.n);
          CAPTURE(shape.m);
          CAPTURE(share);
          CAPTURE(groups);
          CAPTURE(exclude_own);
          Draw draw(81);
          Problem problem = draw_annotated(draw, shape.n, shape.m, shape.classes, share);
          problem.paired = true, problem.first_row = 2, problem.exclude_own = exclude_own;
          if (groups)
            problem.group_a = draw.labels(shape.n, shape.n / 3 + 1, 0.3),
            problem.group_v = draw.labels(shape.m, shape.n / 3 + 1, 0.3);
          check(problem, draw);
        }
  }
}

TEST_CASE("distillation: a pair of annotated rows agrees wholly or not at all, others by their distributions") {
  Draw draw(82);
  Problem problem = draw_annotated(draw, 3, 4, 4, 1);
  problem.trust_a.fill(1), problem.trust_v.fill(1);
  problem.class_a.assign({0.5, 0.5, 0, 0, 0, 0, 1, 0, 0.25, 0.25, 0.25, 0.25});
  problem.class_v.assign({0, 0.5, 0.5, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0.5, 0, 0, 0.5});
  problem.annotated_v.at(3) = 0;  // whose distribution is the teacher's
  const Losses losses = forward(problem);
  CHECK(losses.row_statistics.at(0, 2) == 1 + 0 + 1 + 0.25f);
  CHECK(losses.row_statistics.at(1, 2) == 1 + 0 + 0 + 0);
  CHECK(losses.row_statistics.at(2, 2) == 1 + 1 + 1 + 0.25f);
  check(problem, draw);
}

TEST_CASE("distillation with flags that say nothing has the results without them") {
  for (const int64_t size : {40, 300}) {
    if (!affordable_tiles(size, size, 18)) continue;
    CAPTURE(size);
    Draw draw(83);
    Problem plain = draw_problem(draw, size, size, 9, 10, 5, 4);
    plain.paired = true;
    Problem none = plain, one_class = plain;
    none.annotated_a = Floats(size, 1).fill(0), none.annotated_v = Floats(size, 1).fill(0);
    for (Floats* side : {&one_class.class_a, &one_class.class_v})
      for (int64_t i = 0; i < size; ++i)
        for (int64_t c = 0; c < 4; ++c) side->at(i, c) = c == i % 4 ? 1 : 0;
    Problem flagged = one_class;
    flagged.annotated_a = Floats(size, 1).fill(1), flagged.annotated_v = Floats(size, 1).fill(1);
    // The kernels of annotated rows sum the positives in a pass of their own, in the same order.
    CHECK(forward(none).same_bits(forward(plain)));
    CHECK(forward(flagged).same_bits(forward(one_class)));
    const Weights weights{Floats(size, 1).fill(1), Floats(size, 1).fill(1)};
    const Losses losses = forward(one_class);
    CHECK(backward(flagged, losses, weights, 2, prefilled(plain))
              .same_bits(backward(one_class, losses, weights, 2, prefilled(plain))));
  }
}

TEST_CASE("distillation with annotated rows whose distributions are NaN shows it") {
  Draw draw(84);
  Problem problem = draw_annotated(draw, 9, 11, 3, 1);
  problem.class_a.at(4, 1) = std::numeric_limits<float>::quiet_NaN();
  const Losses losses = forward(problem);
  for (int64_t i = 0; i < 9; ++i) CHECK(std::isnan(losses.row_statistics.at(i, 2)) == (i == 4));
}

TEST_CASE("distillation refuses flags without classes, or of one side alone") {
  Draw draw(85);
  Problem problem = draw_annotated(draw, 5, 6, 3, 1);
  Losses out(5, 6);
  const auto outputs = sized<duet_distillation_outputs>({.row_loss = out.row.vector(),
                                                         .column_loss = out.column.vector(),
                                                         .row_statistics = out.row_statistics.matrix(),
                                                         .column_statistics = out.column_statistics.matrix()});
  Call call(problem, 1);
  const duet_workspace workspace = call.workspace();
  auto inputs = call.inputs;
  inputs.annotated_v = duet_const_vector{};
  FAIL_CALL(duet_distillation_forward(call.context, &inputs, outputs, workspace), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.annotated_v: expected");
  inputs = call.inputs;
  inputs.class_a = inputs.class_v = duet_const_matrix{};
  inputs.trust_a = inputs.trust_v = inputs.kappa_a = inputs.kappa_v = duet_const_vector{};
  FAIL_CALL(duet_distillation_forward(call.context, &inputs, outputs, workspace), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.annotated_a: expected null without inputs.class_a and class_v");
}
