// The losses on a relation of pairs by labels that stand for sets of classes.
#include "tests/kernels/contrastive_problem.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

// The losses that take labels; related is multi_positive.
constexpr Variant kLabelVariants[] = {Variant::decoupled, Variant::circle, Variant::ntxent, Variant::related};

// Labels up to two past the table's end, which are alike to themselves alone.
Problem draw_sets(Draw& draw, Variant variant, int64_t n, int64_t m, int64_t labels, int64_t classes, double share) {
  Problem out = draw_problem(draw, variant, n, m, 9, 10);
  out.labels_a = draw.labels(n, labels + 2, 0.2), out.labels_v = draw.labels(m, labels + 2, 0.2);
  out.label_sets = draw_label_table(draw, labels, classes, share, 1);
  return out;
}

}  // namespace

TEST_CASE("contrastive losses by label sets agree with the reference") {
  struct Shape {
    int64_t n, m, labels, classes;
    double share;
  };
  for (const Variant variant : kLabelVariants)
    for (const Shape& shape : values_of<Shape>({{1, 1, 1, 1, 0},
                                                {1, 5, 2, 3, 0.2},
                                                {6, 1, 3, 2, 0.5},
                                                {130, 130, 40, 70, 0.02},
                                                {300, 263, 5, 6, 0.2},
                                                {31, 67, 9, 33, 0.05}})) {
      if (!affordable_tiles(shape.n, shape.m, 18)) continue;
      for (const bool exclude_own : {false, true}) {
        CAPTURE(static_cast<int>(variant));
        CAPTURE(shape.n);
        CAPTURE(shape.m);
        CAPTURE(exclude_own);
        Draw draw(211);
        Problem problem = draw_sets(draw, variant, shape.n, shape.m, shape.labels, shape.classes, shape.share);
        problem.first_row = 2, problem.exclude_own = exclude_own;
        check_problem(problem);
      }
    }
}

TEST_CASE("contrastive losses by label sets in every precision") {
  for (const Variant variant : kLabelVariants)
    for (const duet_precision precision :
         {DUET_PRECISION_FP32, DUET_PRECISION_TF32X3, DUET_PRECISION_TF32, DUET_PRECISION_BF16}) {
      CAPTURE(static_cast<int>(variant));
      CAPTURE(static_cast<int>(precision));
      Draw draw(214);
      Problem problem = draw_sets(draw, variant, 21, 17, 6, 9, 0.2);
      problem.precision = precision;
      check_problem(problem);
    }
}

TEST_CASE("contrastive losses by sets of one class each are those by that class") {
  for (const Variant variant : kLabelVariants) {
    CAPTURE(static_cast<int>(variant));
    Draw draw(212);
    Problem problem = draw_problem(draw, variant, 37, 41, 9, 10);
    problem.labels_a = draw.labels(37, 4, 0.2), problem.labels_v = draw.labels(41, 4, 0.2);
    Problem sets = problem;
    sets.label_sets = {{{31}, {32}, {0}, {5}}, 33};
    const Losses losses = forward(problem);
    CHECK(forward(sets).same_bits(losses));
    CHECK(ones_backward(sets, losses).same_bits(ones_backward(problem, losses)));
  }
}

TEST_CASE("contrastive losses refuse label sets without labels") {
  Draw draw(213);
  Problem problem = draw_problem(draw, Variant::decoupled, 5, 6, 9, 10);
  problem.label_sets = {{{0}, {1}}, 2};
  Losses out(5, 6);
  Call call(problem, 1);
  const auto outputs = sized<duet_contrastive_outputs>({.row_loss = out.row.vector(),
                                                        .column_loss = out.column.vector(),
                                                        .row_statistics = out.row_statistics.matrix(),
                                                        .column_statistics = out.column_statistics.matrix()});
  FAIL_CALL(duet_contrastive_forward(call.context, &call.inputs, outputs, {}), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.label_sets: expected null without inputs.labels_a and labels_v");
}
