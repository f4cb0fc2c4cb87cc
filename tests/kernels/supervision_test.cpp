#include "tests/kernels/supervision_problem.h"

using namespace duet::test;
using namespace duet::test::supervision;

TEST_CASE("supervision agrees with the double reference") {
  struct Shape {
    int64_t samples, classes;
    double unlabelled;
  };
  for (const Shape& shape : {Shape{1, 1, 0}, Shape{1, 5, 1}, Shape{7, 3, 0.3}, Shape{128, 10, 0.9}, Shape{131, 7, 0.5},
                             Shape{2111, 13, 0.2}, Shape{40, 4, 1}, Shape{3, 2100, 0.5}})
    for (const int mask : {0, 1, 2, 3, 4, 5, 6, 7}) {
      // Emulated, a sample takes some 2000 steps of its threads and more for its classes; each call here is made 6
      // times.
      const int64_t steps_taken = 6 * shape.samples * (2000 + 16 * shape.classes);
      if (!affordable(steps_taken) || (!affordable(8 * steps_taken) && mask != 7)) continue;
      CAPTURE(shape.samples);
      CAPTURE(mask);
      State state(shape.classes);
      for (int steps = 0; steps < 3; ++steps) {
        Batch batch =
            draw_batch(static_cast<uint64_t>(31 + steps), shape.samples, shape.classes, shape.unlabelled, steps);
        batch.options.hide = mask & 1, batch.options.lift = mask >> 1 & 1, batch.options.trust = mask >> 2 & 1;
        step(batch, state);
      }
    }
}

TEST_CASE("supervision follows its options") {
  State state(4);
  state.predicted.assign({0.001, 0.4, 0.3, 0.299});
  Batch batch = draw_batch(37, 60, 4, 0.4);
  batch.options.momentum = 0.999f, batch.options.largest_lift = 3, batch.options.unannotated_kappa = 0.25f,
  batch.options.pair_weight_scale = 2;
  batch.options.unread = 0.3, batch.options.generality = 0.6;
  state.concord.fill(0.9);
  step(batch, state);
  CHECK(state.concord.at(0) > 0.85);
}

TEST_CASE("supervision by label sets gives an annotated sample equal shares of its classes") {
  struct Shape {
    int64_t samples, classes, labels;
  };
  for (const Shape& shape :
       {Shape{1, 1, 1}, Shape{0, 3, 2}, Shape{31, 33, 7}, Shape{128, 24, 40}, Shape{300, 64, 90}, Shape{3, 2100, 4}}) {
    if (!affordable(6 * shape.samples * (2000 + 16 * shape.classes))) continue;
    CAPTURE(shape.samples);
    CAPTURE(shape.classes);
    Draw draw(83);
    Batch batch = draw_batch(84, shape.samples, shape.classes, 0.3, 1);
    batch.labels = draw.labels(shape.samples, shape.labels, 0.3);
    batch.label_sets = draw_label_table(draw, shape.labels, shape.classes, 0.1, 1);
    State state(shape.classes);
    step(batch, state);
    step(batch, state);
  }
}

TEST_CASE("supervision by sets of one class each is supervision by that class, bit for bit") {
  Batch batch = draw_batch(85, 40, 5, 0.3);
  State state(5), by_set(5);
  const Result expected = step(batch, state);
  batch.label_sets = {{{0}, {1}, {2}, {3}, {4}}, 5};
  CHECK(step(batch, by_set).same_bits(expected));
}

TEST_CASE("supervision hides labels by sample and epoch, whatever the batch") {
  State state(3);
  Batch batch = draw_batch(41, 400, 3, 0);
  const Result result = step(batch, state);
  double annotated = 0;
  for (int64_t i = 0; i < 400; ++i) annotated += result.annotated.at(i);
  CHECK(std::abs(annotated / 400 - 0.65) < 4 * std::sqrt(0.65 * 0.35 / 400));  // four deviations of a coin's mean
  Batch turned = batch;
  for (int64_t i = 0; i < 400; ++i) turned.sample_ids.at(i) = batch.sample_ids.at(399 - i);
  const Result back = step(turned, state);
  for (int64_t i = 0; i < 400; ++i) CHECK(back.annotated.at(i) == result.annotated.at(399 - i));
  for (const float ratio : {0.0f, 1.0f}) {
    batch.ratio.at(0) = ratio;
    CHECK(step(batch, state).counts.at(0) == 400 * ratio);
  }
}

TEST_CASE("supervision keeps its state where a batch has nothing to say") {
  State state(3);
  state.concord.fill(0.7);
  state.predicted.assign({0.2, 0.3, 0.5});
  Batch labelled = draw_batch(43, 20, 3, 0);
  step(labelled, state);
  CHECK(state.concord.at(0) == 0.7f);  // labels hidden in this epoch are not never-labelled
  const State before = state;
  Batch empty = draw_batch(47, 0, 3, 0);
  const Result result = step(empty, state);
  CHECK((state.predicted.same_bits(before.predicted) && state.concord.same_bits(before.concord)));
  CHECK((result.counts.at(0) == 0 && result.counts.at(1) == 0));
  CHECK(result.pair_weight.at(0) == doctest::Approx(3 * (0.3 + std::pow(0.7, 8))));
}

TEST_CASE("supervision writes the moved state beside the old one where it is asked to") {
  for (const int64_t samples : {0, 40}) {
    CAPTURE(samples);
    Batch batch = draw_batch(67, samples, 5, 0.5);
    State old(5), moved(5), next(5);
    for (State* state : {&old, &moved}) state->predicted.assign({0.1, 0.2, 0.3, 0.25, 0.15}), state->concord.fill(0.6);
    next.predicted.fill(std::nan("")), next.concord.fill(std::nan(""));
    const State before = old;
    const Result in_place = run(batch, moved, 1);

    Context context;
    const auto inputs = batch.inputs();
    size_t bytes = 0;
    SUCCEED_CALL(duet_supervision_workspace(context, &inputs, &bytes));
    const Scratch scratch(bytes);
    Result beside(samples, 5);
    auto outputs = beside.outputs();
    outputs.predicted = next.predicted.vector(), outputs.concord = next.concord.vector();
    const auto view = old.view();
    SUCCEED_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()));
    CHECK(beside.same_bits(in_place));
    CHECK((next.predicted.same_bits(moved.predicted) && next.concord.same_bits(moved.concord)));
    CHECK((old.predicted.same_bits(before.predicted) && old.concord.same_bits(before.concord)));

    auto one = outputs;
    one.concord = duet_vector{};
    FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &one, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
              "expected both or neither");
    one = outputs;
    one.predicted.size = 4;
    FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &one, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
              "outputs.predicted: expected 5 elements, got 4");
  }
}

TEST_CASE("supervision without a usable lift") {
  State state(3);
  Batch batch = draw_batch(53, 30, 3, 1);
  batch.prior.assign({0, 0, 0});  // no class labelled: q = p
  const Result plain = step(batch, state);
  State unlifted(3);
  batch.options.lift = 0;
  CHECK(step(batch, unlifted).same_bits(plain));
  // A class that is neither labelled nor ever predicted is not 0 / 0.
  batch.options.lift = 1;
  batch.prior.assign({0, 0.5, 0.5});
  state.predicted.assign({0, 0.5, 0.5});
  for (int64_t i = 0; i < 30; ++i)
    batch.logits_a.at(i, 0) = batch.logits_v.at(i, 0) = -std::numeric_limits<float>::infinity();
  const Result result = run(batch, state, 1);
  for (int64_t i = 0; i < 30; ++i) {
    CHECK(result.class_q.at(i, 0) == 0);
    CHECK(result.class_q.at(i, 1) + result.class_q.at(i, 2) == doctest::Approx(1));
  }
}

TEST_CASE("supervision breaks ties to the lowest class and passes NaN on") {
  State state(2);
  Batch batch = draw_batch(59, 4, 2, 1);
  batch.prior.fill(0.5);
  batch.options.lift = 0;
  batch.logits_a.assign({1, 1, 1, 1, 2, 0, 0, 0});
  batch.logits_v.assign({1, 1, 0, 1, 3, 3, 0, 0});
  batch.logits_a.at(3, 1) = std::numeric_limits<float>::quiet_NaN();
  batch.labels.at(2) = 1;
  batch.ratio.at(0) = 1;
  const Result result = run(batch, state, 1);
  CHECK(result.trust.at(0) == 1);  // class 0 and class 0
  CHECK(result.trust.at(1) == 0);  // class 0 and class 1
  CHECK(result.trust.at(2) == 1);
  CHECK(result.trust.at(3) == 0);
  CHECK((result.class_q.at(2, 0) == 0 && result.class_q.at(2, 1) == 1));
  CHECK((std::isnan(result.class_q.at(3, 0)) && std::isnan(result.class_q.at(3, 1))));
  CHECK(std::isnan(state.predicted.at(0)));
  CHECK(state.concord.at(0) == doctest::Approx(0.05 / 3));
  batch.options.lift = 1;  // now u is part of every q
  const Result lifted = run(batch, state, 1);
  CHECK(std::isnan(lifted.class_q.at(0, 0)));
  CHECK(lifted.trust.at(0) == 0);
}

TEST_CASE("supervision tells classes apart whose probabilities are one number") {
  State state(2);
  Batch batch = draw_batch(60, 4, 2, 1);
  batch.prior.fill(0.5);
  batch.logits_a.assign({1e-20f, 2e-20f, 2e-17f, 1e-17f, -1e-30f, -1e-38f, 1e-20f, 2e-20f});
  batch.logits_v.assign({2e-20f, 1e-20f, 3e-17f, 1e-17f, -1e-30f, 1e-38f, 0, 0});
  batch.options.lift = 0;
  const Result result = run(batch, state, 1);
  CHECK(result.trust.at(0) == 0);  // class 1 and class 0
  CHECK(result.trust.at(1) == 1);  // class 0 and class 0
  CHECK(result.trust.at(2) == 1);  // class 1 and class 1
  CHECK(result.trust.at(3) == 0);  // class 1 and, of equal ones, class 0
}

TEST_CASE("supervision weighs the pair term by evidence and concord") {
  for (const double unread : {0.0, 0.25, 1.0})
    for (const double generality : {0.0, 0.4, 1.0})
      for (const double concord : {0.0, 0.5, 1.0}) {
        CAPTURE(unread);
        CAPTURE(generality);
        CAPTURE(concord);
        State state(3);
        state.concord.fill(concord);
        Batch batch = draw_batch(68, 30, 3, 0.5);
        batch.options.unread = unread, batch.options.generality = generality;
        const Result result = step(batch, state);
        for (int64_t i = 0; i < 30; ++i)
          CHECK(result.anchor_weight.at(i) == doctest::Approx(batch.labels.at(i) < 0 ? 1 : unread * unread));
        if (concord < 1) continue;
        Batch labelled = draw_batch(69, 30, 3, 0);  // which leaves concord alone
        labelled.options = batch.options;
        State full(3);
        full.concord.fill(1);
        CHECK(step(labelled, full).pair_weight.at(0) ==
              doctest::Approx((1 + 2 * unread) * (1 - generality) * (1 - generality)));
      }
}

TEST_CASE("supervision: heads that know one class agree on nothing") {
  State state(1);
  state.concord.fill(0.5);
  Batch batch = draw_batch(70, 12, 1, 0.5);
  batch.ratio.at(0) = 0;
  const Result result = step(batch, state);
  for (int64_t i = 0; i < 12; ++i) CHECK(result.trust.at(i) == 0);
  CHECK(state.concord.at(0) == doctest::Approx(0.95 * 0.5));
  batch.options.trust = 0;
  for (int64_t i = 0; i < 12; ++i) CHECK(step(batch, state).trust.at(i) == 1);
}
