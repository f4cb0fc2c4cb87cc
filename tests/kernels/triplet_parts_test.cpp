// The triplet loss in parts, in one pass, on long rows; NaN, empty losses, misuse.
#include <optional>

#include "tests/kernels/triplet_problem.h"

using namespace duet::test;
using namespace duet::test::triplet;

TEST_CASE("one pass leaves forward's terms to the bit and backward's gradients up to their division") {
  for (const Shape& s : kShapes) {
    if (!affordable_rows(s.n, s.m)) continue;
    for (const bool soft : {true, false}) {
      Batch batch = batch_of(s, 41, 2);
      batch.soft = soft;
      CAPTURE(s.n);
      CAPTURE(s.m);
      const Forward terms = forward(batch);
      constexpr double kUpstream = -0.7;
      const Gradients two = backward(batch, terms.weight.at(0), kUpstream, zeros(batch));
      std::optional<Gradients> first;
      for (const int threads : thread_counts()) {
        OnePass pass = one_pass(batch, threads);
        Floats upstream = Floats(1, 1).fill(kUpstream);
        Gradients one = zeros(batch);
        Context context(threads);
        Floats weight = Floats(1, 1).fill(terms.weight.at(0));
        SUCCEED_CALL(duet_triplet_add_gradient(
            context, sized<duet_triplet_sums>({.sum_x = pass.sums.x.matrix(), .sum_y = pass.sums.y.matrix()}),
            sized<duet_triplet_gradients>({.active = weight.vector(),
                                           .grad_loss = upstream.vector(),
                                           .grad_x = one.x.matrix(),
                                           .grad_y = one.y.matrix()})));
        CHECK(pass.loss.values() == terms.loss.values());
        CHECK(pass.active.values() == terms.active.values());
        // Another order of a division: a few ulps of the largest.
        check_relative(one.x.values(), two.x.values(), 1e-6, "grad_x", 1e-8);
        check_relative(one.y.values(), two.y.values(), 1e-6, "grad_y", 1e-8);
        if (!first) first = one;
        CHECK(one.x.values() == first->x.values());
        CHECK(one.y.values() == first->y.values());
      }
    }
  }
}

TEST_CASE("triplet gradients of one pass refuse what does not fit") {
  Context context(1);
  Floats one = Floats(1, 1).fill(1), sum = Floats(3, 2).fill(1), grad = Floats(4, 2).fill(0);
  FAIL_CALL(
      duet_triplet_add_gradient(
          context, sized<duet_triplet_sums>({.sum_x = sum.matrix()}),
          sized<duet_triplet_gradients>({.active = one.vector(), .grad_loss = one.vector(), .grad_x = grad.matrix()})),
      DUET_STATUS_INVALID_ARGUMENT, "sum_x: expected 4 x 2, got 3 x 2");
  Floats zero = Floats(1, 1).fill(0), target = Floats(3, 2).fill(5);
  SUCCEED_CALL(duet_triplet_add_gradient(
      context, sized<duet_triplet_sums>({.sum_x = sum.matrix()}),
      sized<duet_triplet_gradients>({.active = zero.vector(), .grad_loss = one.vector(), .grad_x = target.matrix()})));
  CHECK(target.values() == Floats(3, 2).fill(5).values());
}

TEST_CASE("parts of a batch give the whole's rows, and gradients that add up") {
  Batch whole = batch_of({50, 60, 9, 4, true, 0.2}, 34);
  for (const duet_triplet_mining mining : kMinings) {
    CAPTURE(kNames[mining]);
    whole.mining = mining, whole.soft = mining == DUET_TRIPLET_MINING_ALL;
    const Forward all = forward(whole);
    const double weight = all.weight.at(0);
    const Gradients expected = backward(whole, weight, 1, zeros(whole));
    Gradients summed = zeros(whole);
    double slack = reference::total(expected_of(whole).slack);
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 21}, {21, 29}}) {
      Batch part = batch_of({count, 60, 9, 4, true, 0.2}, 34);
      part.y = whole.y, part.class_y = whole.class_y, part.trust_y = whole.trust_y, part.labels_y = whole.labels_y;
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t k = 0; k < 9; ++k) part.x.at(i, k) = whole.x.at(first + i, k);
        for (int64_t c = 0; c < 4; ++c) part.class_x.at(i, c) = whole.class_x.at(first + i, c);
        part.trust_x.at(i) = whole.trust_x.at(first + i), part.labels_x.at(i) = whole.labels_x.at(first + i);
      }
      part.mining = mining, part.soft = whole.soft, part.first_row = first, part.total_columns = 60;
      const Forward some = forward(part);
      for (int64_t i = 0; i < count; ++i) {
        CHECK(std::abs(some.active.at(i) - all.active.at(first + i)) <= slack + 1e-6 * all.active.at(first + i));
        CHECK(std::abs(some.loss.at(i) - all.loss.at(first + i)) <= 1e-5 * (1 + all.active.at(first + i)));
      }
      const Gradients into{Floats(count, 9).fill(0), summed.y};
      const Gradients of_part = backward(part, weight, 1, into);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t k = 0; k < 9; ++k) summed.x.at(first + i, k) = of_part.x.at(i, k);
      for (int64_t j = 0; j < 60; ++j)
        for (int64_t k = 0; k < 9; ++k) summed.y.at(j, k) = of_part.y.at(j, k);
    }
    // Tiles of other shapes round otherwise, in the last bits.
    check_relative(summed.x.values(), expected.x.values(), 1e-5, "grad_x", 8 * slack / weight);
    check_relative(summed.y.values(), expected.y.values(), 1e-5, "grad_y", 8 * slack / weight);
  }
}

// A few positives among the columns, so that the reference, which takes every triplet, is quick.
TEST_CASE("rows longer than shared memory, and more rows than a block holds") {
  // 4100 columns are too long where a device gives a block less shared memory than sm_80 does.
  for (const auto& shape : {std::pair<int64_t, int64_t>{2, 4100}, {4, 8200}, {2060, 16}}) {
    const int64_t n = shape.first, m = shape.second;
    if (!affordable_rows(n, m)) continue;
    CAPTURE(m);
    Batch batch = batch_of({n, m, 3, 2, true, 0}, 42);
    for (int64_t i = 0; i < n; ++i)
      batch.labels_x.at(i) = static_cast<int32_t>(i % 4 == 3), batch.trust_x.at(i) = i % 4 == 2 ? 0 : 1;
    for (int64_t j = 0; j < m; ++j) batch.labels_y.at(j) = j % 401 != 7;
    const auto one_hot = [](Floats& classes, const Ints& labels) {
      for (int64_t i = 0; i < labels.rows(); ++i)
        for (int64_t c = 0; c < 2; ++c) classes.at(i, c) = static_cast<float>(labels.at(i) == c);
    };
    one_hot(batch.class_x, batch.labels_x), one_hot(batch.class_y, batch.labels_y);
    for (const duet_triplet_mining mining : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_SEMIHARD}) {
      batch.mining = mining, batch.soft = mining == DUET_TRIPLET_MINING_ALL;
      CAPTURE(kNames[mining]);
      const auto expected = expected_of(batch);
      const OnePass actual = one_pass(batch);
      check_rows({actual.loss, actual.active, Floats(1, 1), Floats(1, 1)}, expected);
      check_gradients(actual.sums, batch, expected, 1, 1, kNames[mining]);
    }
  }
}

TEST_CASE("without active triplets the loss is 0 and gradients stay as they are") {
  Batch batch = batch_of({20, 20, 5, 1, true, 0}, 35);  // one class: no negatives
  Draw draw(36);
  for (const duet_triplet_mining mining : kMinings) {
    batch.mining = mining, batch.soft = mining == DUET_TRIPLET_MINING_ALL;
    const Forward actual = forward(batch);
    CHECK(actual.total.at(0) == 0);
    CHECK(actual.weight.at(0) == 0);
    const Gradients before{draw.normals(20, 5), draw.normals(20, 5)};
    const Gradients after = backward(batch, 0, 1, before);
    CHECK(after.x.same_bits(before.x));
    CHECK(after.y.same_bits(before.y));
  }
}

TEST_CASE("where no triplet is active nothing is added, not even 0 times a NaN") {
  Draw draw(43);
  const Gradients before{draw.normals(20, 5), draw.normals(24, 5)};
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()})
    for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE})
      for (const duet_triplet_mining mining : kMinings)
        for (const bool soft : {false, true}) {
          if ((soft && mining != DUET_TRIPLET_MINING_ALL) || (std::isinf(value) && metric != DUET_METRIC_EUCLIDEAN))
            continue;
          CAPTURE(value);
          CAPTURE(metric);
          CAPTURE(kNames[mining]);
          Batch batch = batch_of({20, 24, 5, 1, false, 0}, 44);  // one class: no negatives
          batch.metric = metric, batch.mining = mining, batch.soft = soft;
          batch.y.at(7, 2) = value, batch.labels_y.at(7) = -1, batch.trust_y.at(7) = 0;
          if (!soft)
            batch.x.at(3, 1) = value, batch.labels_x.at(3) = -1;  // soft: an anchor of NaN has positives all the same
          CHECK(forward(batch).weight.at(0) == 0);
          const Gradients after = backward(batch, 0, 1, before);
          CHECK(after.x.same_bits(before.x));
          CHECK(after.y.same_bits(before.y));
        }
}

TEST_CASE("beside a side of 0 rows the sums are 0 and gradients stay as they are, whatever the rows hold") {
  Draw draw(46);
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()})
    for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE})
      for (const duet_triplet_mining mining : kMinings)
        for (const bool soft : {false, true})
          for (const auto& sides : {std::pair<int64_t, int64_t>{0, 21}, {21, 0}}) {
            const int64_t n = sides.first, m = sides.second;
            if (soft && mining != DUET_TRIPLET_MINING_ALL) continue;
            CAPTURE(value);
            CAPTURE(metric);
            CAPTURE(kNames[mining]);
            CAPTURE(n);
            Batch batch = batch_of({n, m, 5, 3, false, 0}, 47);
            batch.metric = metric, batch.mining = mining, batch.soft = soft;
            Floats& rows = n ? batch.x : batch.y;
            rows.at(0, 2) = rows.at(20, 4) = value;
            const Gradients zero = zeros(batch), before{draw.normals(n, 5), draw.normals(m, 5)};
            const Gradients sums = one_pass(batch).sums, after = backward(batch, 1, 1, before);
            CHECK(sums.x.values() == zero.x.values());
            CHECK(sums.y.values() == zero.y.values());
            CHECK(after.x.same_bits(before.x));
            CHECK(after.y.same_bits(before.y));
          }
}

TEST_CASE("a NaN upstream reaches the anchors with active triplets alone") {
  for (const duet_triplet_mining mining : kMinings) {
    CAPTURE(kNames[mining]);
    Batch batch = batch_of({24, 30, 8, 3, false, 0}, 45);
    batch.mining = mining, batch.soft = false;
    batch.labels_x.at(3) = -1, batch.labels_y.at(5) = -1;
    const Forward terms = forward(batch);
    const Gradients gradients = backward(batch, terms.weight.at(0), std::nan(""), zeros(batch));
    for (int64_t i = 0; i < 24; ++i) CHECK(std::isnan(gradients.x.at(i, 0)) == (terms.active.at(i) > 0));
    for (int64_t j = 0; j < 30; ++j)
      CHECK(std::isnan(gradients.y.at(j, 0)) == (mining != DUET_TRIPLET_MINING_ALL || j != 5));
  }
}

TEST_CASE("gradients are added, and one alone is the same") {
  Batch batch = batch_of({33, 29, 6, 3, true, 0}, 37);
  Draw draw(38);
  const double weight = forward(batch).weight.at(0);
  const Gradients before{draw.normals(33, 6), draw.normals(29, 6)};
  const Gradients plain = backward(batch, weight, 1, zeros(batch)), added = backward(batch, weight, 1, before);
  for (int64_t k = 0; k < 6; ++k) {
    CHECK(std::abs(added.x.at(7, k) - (before.x.at(7, k) + plain.x.at(7, k))) <= 1e-6);
    CHECK(std::abs(added.y.at(7, k) - (before.y.at(7, k) + plain.y.at(7, k))) <= 1e-6);
  }
  Context context;
  const duet_triplet_inputs inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Floats active = Floats(1, 1).fill(weight), grad = Floats(1, 1).fill(1);
  Gradients one = zeros(batch);
  SUCCEED_CALL(duet_triplet_backward(
      context, &inputs,
      sized<duet_triplet_gradients>(
          {.active = active.vector(), .grad_loss = grad.vector(), .grad_x = one.x.matrix(), .grad_y = duet_matrix{}}),
      scratch.view()));
  SUCCEED_CALL(duet_triplet_backward(
      context, &inputs,
      sized<duet_triplet_gradients>(
          {.active = active.vector(), .grad_loss = grad.vector(), .grad_x = duet_matrix{}, .grad_y = one.y.matrix()}),
      scratch.view()));
  CHECK(one.x.same_bits(plain.x));
  CHECK(one.y.same_bits(plain.y));
}

TEST_CASE("NaN reaches the loss and the gradients") {
  for (const duet_triplet_mining mining : kMinings) {
    CAPTURE(kNames[mining]);
    Batch batch = batch_of({24, 30, 8, 3, false, 0}, 39);
    batch.mining = mining, batch.soft = mining == DUET_TRIPLET_MINING_ALL;
    batch.trust_x.fill(1), batch.trust_y.fill(1);
    const double weight = forward(batch).weight.at(0);
    batch.x.at(3, 2) = std::nanf("");
    const Forward actual = forward(batch);
    for (int64_t i = 0; i < 24; ++i) CHECK(std::isnan(actual.loss.at(i)) == (i == 3));
    CHECK(std::isnan(actual.total.at(0)));
    const Gradients gradients = backward(batch, weight, 1, zeros(batch));
    CHECK(std::isnan(gradients.x.at(3, 0)));
    CHECK(std::isnan(gradients.y.at(0, 0)));
  }
  // A sample that takes no part does not matter, whatever it holds.
  Batch batch = batch_of({24, 30, 8, 3, false, 0}, 39);
  batch.soft = false, batch.labels_y.at(5) = -1;
  const Forward before = forward(batch);
  batch.y.at(5, 0) = std::nanf("");
  const Forward after = forward(batch);
  CHECK(after.loss.same_bits(before.loss));
}

TEST_CASE("triplets of Euclidean distances do not depend on the unit of length") {
  for (const duet_triplet_mining mining : kMinings) {
    if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) continue;  // unit rows alone
    Batch batch = batch_of({19, 23, 6, 3, true, 0.1}, 39);
    batch.metric = DUET_METRIC_EUCLIDEAN, batch.mining = mining, batch.soft = mining == DUET_TRIPLET_MINING_ALL;
    const auto expected = expected_of(batch);
    const double weight = weight_of(expected);
    for (const int exponent : values_of({-66, -100, -120, 50, 62, 100})) {
      CAPTURE(kNames[mining]);
      CAPTURE(exponent);
      Batch scaled = batch;
      scaled.margin = static_cast<float>(std::ldexp(batch.margin, exponent));
      for (Floats* rows : {&scaled.x, &scaled.y})
        for (int64_t i = 0; i < rows->rows(); ++i)
          for (int64_t k = 0; k < rows->columns(); ++k)
            rows->at(i, k) = static_cast<float>(std::ldexp(rows->at(i, k), exponent));
      Forward actual = forward(scaled);
      for (int64_t i = 0; i < batch.n(); ++i)
        actual.loss.at(i) = static_cast<float>(std::ldexp(actual.loss.at(i), -exponent));
      check_rows(actual, expected);
      // 1/D has no unit: the gradient is that of the batch.
      check_gradients(backward(scaled, weight, 1, zeros(scaled)), batch, expected, weight, 1, kNames[mining]);
    }
  }
}

TEST_CASE("triplet refuses misuse") {
  Context context;
  Batch batch = batch_of({6, 8, 3, 2, false, 0}, 40);
  duet_triplet_inputs inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Floats loss(6, 1), active(6, 1), one(1, 1);
  const auto run = [&] {
    return duet_triplet_forward(context, &inputs,
                                sized<duet_triplet_outputs>({.row_loss = loss.vector(), .row_active = active.vector()}),
                                scratch.view());
  };
  SUCCEED_CALL(run());
  FAIL_CALL(duet_triplet_forward(context, &inputs,
                                 sized<duet_triplet_outputs>({.row_loss = one.vector(), .row_active = active.vector()}),
                                 scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "row_loss: expected 6 elements, got 1");
  FAIL_CALL(
      duet_triplet_forward(context, &inputs,
                           sized<duet_triplet_outputs>({.row_loss = loss.vector(), .row_active = active.vector()}),
                           {scratch.view().data, bytes - 1}),
      DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace: expected");
  FAIL_CALL(duet_triplet_loss(context,
                              sized<duet_triplet_loss_inputs>({.row_loss = loss.vector(), .row_active = one.vector()}),
                              sized<duet_triplet_loss_outputs>({.loss = one.vector(), .active = one.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "row_active: expected 6 elements, got 1");
  inputs.margin = -1;
  FAIL_CALL(run(), DUET_STATUS_INVALID_ARGUMENT, "inputs.margin: expected at least 0, got -1");
  inputs = batch.inputs(), inputs.metric = DUET_METRIC_INNER;
  FAIL_CALL(run(), DUET_STATUS_INVALID_ARGUMENT, "inputs.metric: expected sqeuclidean, euclidean or cosine");
  inputs = batch.inputs(), inputs.class_y = batch.class_x.matrix();
  FAIL_CALL(run(), DUET_STATUS_INVALID_ARGUMENT, "inputs.class_y: expected 8 x 2, got 6 x 2");
  inputs = batch.inputs(), inputs.mining = DUET_TRIPLET_MINING_HARD;
  inputs.class_x = inputs.class_y = {}, inputs.trust_x = inputs.trust_y = {};
  FAIL_CALL(run(), DUET_STATUS_INVALID_ARGUMENT, "inputs.labels_x: expected");
  batch.soft = false, batch.mining = DUET_TRIPLET_MINING_DISTANCE_WEIGHTED;
  inputs = batch.inputs(), batch.draw.slots = 0;
  FAIL_CALL(run(), DUET_STATUS_INVALID_ARGUMENT, "inputs.draw.slots: expected at least 1, got 0");
}

TEST_CASE("triplets of rows about a vector, a walk and a tile long") {
  for (const int64_t m : {2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 1023, 1024, 1161}) {
    const int64_t n = m < 100 ? 11 : 3;
    if (!affordable_rows(n, m) || (!on_cpu() && m > 100)) continue;
    CAPTURE(m);
    Batch batch = batch_of({n, m, 6, 3, true, 0.3}, static_cast<uint64_t>(50 + m));
    for (const bool soft : {true, false}) {
      batch.soft = soft;
      const auto expected = expected_of(batch);
      const double weight = weight_of(expected);
      const Forward first = forward(batch, 1);
      check_rows(first, expected);
      const Gradients gradients = backward(batch, weight, 0.7, zeros(batch), 1);
      check_gradients(gradients, batch, expected, weight, 0.7, "all");
      for (const int threads : other_thread_counts()) {
        CHECK(forward(batch, threads).loss.same_bits(first.loss));
        CHECK(backward(batch, weight, 0.7, zeros(batch), threads).y.same_bits(gradients.y));
      }
    }
  }
}
