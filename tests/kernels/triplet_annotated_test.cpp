// The triplet loss by classes with annotated rows, which may have several.
#include "tests/kernels/triplet_problem.h"
#include "tests/support/annotated_rows.h"

using namespace duet::test;
using namespace duet::test::triplet;

namespace {

Batch annotated_batch(const Shape& shape, uint64_t seed, double share) {
  Batch out = batch_of(shape, seed, 1);
  Draw draw(seed + 1);
  out.annotated_x = annotate(draw, out.class_x, share), out.annotated_y = annotate(draw, out.class_y, share);
  return out;
}

}  // namespace

TEST_CASE("triplets by classes with annotated rows agree with the reference") {
  // The last past the small form.
  for (const Shape& s : values_of<Shape>({{1, 1, 3, 1, true, 0},
                                          {9, 14, 5, 3, true, 0},
                                          {31, 67, 6, 5, false, 0},
                                          {257, 9, 5, 6, true, 0},
                                          {9, 257, 5, 6, true, 0},
                                          {45, 45, 12, 33, true, 0}})) {
    if (!affordable_rows(s.n, s.m)) continue;
    for (const double share : {0.5, 1.0})
      for (const bool groups : {false, true}) {
        CAPTURE(s.n);
        CAPTURE(s.m);
        CAPTURE(share);
        CAPTURE(groups);
        Batch batch = annotated_batch(s, 71, share);
        batch.first_row = 1;
        Draw draw(72);
        if (groups)
          batch.group_x = draw.labels(s.n, 12, 0.4), batch.group_y = draw.labels(s.m, 12, 0.4),
          batch.exclude_own = true;
        const auto expected = expected_of(batch);
        const double weight = weight_of(expected);
        const Forward first = forward(batch, 1);
        check_rows(first, expected);
        const Gradients gradients = backward(batch, weight, 0.7, zeros(batch), 1);
        check_gradients(gradients, batch, expected, weight, 0.7, "annotated");
        const OnePass pass = one_pass(batch, 1);
        CHECK(pass.loss.same_bits(first.loss));
        check_gradients(pass.sums, batch, expected, 1, 1, "annotated");
        for (const int threads : other_thread_counts()) {
          CHECK(forward(batch, threads).loss.same_bits(first.loss));
          CHECK(backward(batch, weight, 0.7, zeros(batch), threads).x.same_bits(gradients.x));
        }
      }
  }
}

TEST_CASE("triplets of annotated rows of one class each are those of their labels") {
  for (const int64_t size : {40, 260}) {
    if (!affordable_rows(size, size)) continue;
    CAPTURE(size);
    Batch batch = batch_of({size, size, 6, 4, false, 0}, 73);
    batch.trust_x.fill(1), batch.trust_y.fill(1);
    for (int64_t i = 0; i < size; ++i)
      for (int64_t c = 0; c < 4; ++c) {
        batch.class_x.at(i, c) = c == batch.labels_x.at(i) ? 1 : 0;
        batch.class_y.at(i, c) = c == batch.labels_y.at(i) ? 1 : 0;
      }
    const Forward plain = forward(batch);
    Batch flagged = batch, labels = batch;
    flagged.annotated_x = Floats(size, 1).fill(1), flagged.annotated_y = Floats(size, 1).fill(1);
    labels.soft = false;
    for (Batch* other : {&flagged, &labels}) {
      CHECK(forward(*other).loss.same_bits(plain.loss));
      CHECK(forward(*other).active.same_bits(plain.active));
    }
  }
}

TEST_CASE("triplets: annotated rows of several classes that share one are positives, others negatives") {
  Batch batch = annotated_batch({1, 3, 2, 3, false, 0}, 74, 1);
  batch.trust_x.fill(1), batch.trust_y.fill(1), batch.margin = 1;
  batch.x.assign({0, 0}), batch.y.assign({0.5, 0, 1, 0, 0, 1});
  batch.class_x.assign({0.5, 0.5, 0});
  batch.class_y.assign({0, 0.5, 0.5, 0, 0, 1, 1, 0, 0});
  const Forward out = forward(batch);
  CHECK(out.loss.at(0) == 0.25f + 1);  // positives 0 and 2 at 0.25 and 1, negative 1 at 1
  CHECK(out.active.at(0) == 2);
  batch.annotated_y.at(0) = 0;  // W of column 0 is then 0.25
  CHECK(forward(batch).active.at(0) == doctest::Approx(2 - 0.75 + 0.75 * 0.25 + 0.75));
}

TEST_CASE("triplets refuse flags beside labels, or of one side alone") {
  Context context;
  Batch batch = annotated_batch({5, 6, 3, 3, false, 0}, 75, 1);
  Floats loss(5, 1), active(5, 1);
  const auto outputs = sized<duet_triplet_outputs>({.row_loss = loss.vector(), .row_active = active.vector()});
  auto inputs = batch.inputs();
  const Scratch scratch = scratch_for(context, inputs);
  inputs.annotated_y = duet_const_vector{};
  FAIL_CALL(duet_triplet_forward(context, &inputs, outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.annotated_y: expected");
  batch.soft = false;
  inputs = batch.inputs();
  FAIL_CALL(duet_triplet_forward(context, &inputs, outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.annotated_x: expected null without inputs.class_x and class_y");
}
