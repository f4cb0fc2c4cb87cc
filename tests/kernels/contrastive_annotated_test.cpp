// The contrastive losses that have classes, with annotated rows, which may have several.
#include "tests/kernels/contrastive_problem.h"
#include "tests/support/annotated_rows.h"

using namespace duet::test;
using namespace duet::test::contrastive;

namespace {

constexpr Variant kClassVariants[] = {Variant::multi_positive, Variant::multi_positive_groups, Variant::sigmoid_soft,
                                      Variant::sigmoid_soft_groups};

Problem draw_annotated(Draw& draw, Variant variant, int64_t n, int64_t m, int64_t classes, double share) {
  Problem out = draw_problem(draw, variant, n, m, 9, 10, classes, 1);
  out.annotated_a = annotate(draw, out.class_a, share), out.annotated_v = annotate(draw, out.class_v, share);
  return out;
}

}  // namespace

TEST_CASE("contrastive losses with annotated rows agree with the reference") {
  struct Shape {
    int64_t n, m, classes;
  };
  for (const Variant variant : kClassVariants)
    for (const Shape& shape :
         values_of<Shape>({{1, 1, 1}, {1, 5, 2}, {6, 1, 3}, {130, 130, 33}, {300, 263, 7}, {31, 67, 5}})) {
      if (!affordable_tiles(shape.n, shape.m, 18)) continue;
      for (const double share : {0.5, 1.0})
        for (const bool exclude_own : {false, true}) {
          CAPTURE(static_cast<int>(variant));
          CAPTURE(shape.n);
          CAPTURE(shape.m);
          CAPTURE(share);
          CAPTURE(exclude_own);
          Draw draw(91);
          Problem problem = draw_annotated(draw, variant, shape.n, shape.m, shape.classes, share);
          problem.first_row = 2, problem.exclude_own = exclude_own;
          check_problem(problem);
        }
    }
}

TEST_CASE("contrastive losses with flags that say nothing have the results without them") {
  for (const Variant variant : kClassVariants)
    for (const int64_t size : {40, 300}) {
      if (!affordable_tiles(size, size, 18)) continue;
      CAPTURE(static_cast<int>(variant));
      CAPTURE(size);
      Draw draw(92);
      Problem plain = draw_problem(draw, variant, size, size, 9, 10), one_class = plain;
      for (Floats* side : {&one_class.class_a, &one_class.class_v})
        for (int64_t i = 0; i < size; ++i)
          for (int64_t c = 0; c < 4; ++c) side->at(i, c) = c == i % 4 ? 1 : 0;
      for (const float flag : {0.0f, 1.0f}) {
        CAPTURE(flag);
        Problem& without = flag == 0 ? plain : one_class;
        Problem flagged = without;
        flagged.annotated_a = Floats(size, 1).fill(flag), flagged.annotated_v = Floats(size, 1).fill(flag);
        const Losses losses = forward(without);
        CHECK(forward(flagged).same_bits(losses));
        CHECK(ones_backward(flagged, losses).same_bits(ones_backward(without, losses)));
      }
    }
}

TEST_CASE("sigmoid loss: W of annotated rows that share a class is 1, and NaN shows") {
  Draw draw(93);
  Problem problem = draw_annotated(draw, Variant::sigmoid_soft, 2, 2, 3, 1);
  problem.a.fill(0), problem.bias = 2;
  problem.class_a.assign({0.5, 0.5, 0, 0, 0, 1});
  problem.class_v.assign({0, 0.5, 0.5, 0, 0, 1});
  const Losses losses = forward(problem);
  const double near = std::log1p(std::exp(-2)), far = 2 + near;
  CHECK(losses.row.at(0) == doctest::Approx(near + far));
  CHECK(losses.row.at(1) == doctest::Approx(2 * near));
  problem.class_a.at(0, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(forward(problem).row.at(0)));
  CHECK(std::isfinite(forward(problem).row.at(1)));
}

TEST_CASE("contrastive losses refuse flags without classes, or of one side alone") {
  Draw draw(94);
  Problem problem = draw_annotated(draw, Variant::multi_positive, 5, 6, 3, 1);
  Losses out(5, 6);
  const auto outputs = sized<duet_contrastive_outputs>({.row_loss = out.row.vector(),
                                                        .column_loss = out.column.vector(),
                                                        .row_statistics = out.row_statistics.matrix(),
                                                        .column_statistics = out.column_statistics.matrix()});
  Call call(problem, 1);
  const duet_workspace workspace = call.workspace();
  auto inputs = call.inputs;
  inputs.annotated_v = duet_const_vector{};
  FAIL_CALL(duet_contrastive_forward(call.context, &inputs, outputs, workspace), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.annotated_v: expected");
  Problem plain = draw_problem(draw, Variant::infonce, 5, 6, 9, 10);
  Call other(plain, 1);
  inputs = other.inputs;
  inputs.annotated_a = problem.annotated_a.vector();
  FAIL_CALL(duet_contrastive_forward(other.context, &inputs, outputs, workspace), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.annotated_a: expected null without inputs.class_a and class_v");
}
