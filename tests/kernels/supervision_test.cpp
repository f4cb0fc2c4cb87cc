#include "tests/reference/supervision.h"

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/faults.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

struct Batch {
  Ints labels;
  Longs sample_ids;
  Floats logits_a, logits_v, prior, ratio;
  Longs epoch;
  duet_supervision_inputs options = DUET_SUPERVISION_INPUTS_INIT;

  duet_supervision_inputs inputs() {
    duet_supervision_inputs in = options;
    in.labels = labels.vector(), in.sample_ids = sample_ids.vector();
    in.logits_a = logits_a.matrix(), in.logits_v = logits_v.matrix();
    in.prior = prior.vector(), in.ratio = ratio.vector(), in.epoch = epoch.vector();
    return in;
  }
  reference::SupervisionBatch expected() const {
    reference::SupervisionBatch out;
    for (int64_t i = 0; i < labels.rows(); ++i) out.labels.push_back(labels.at(i)), out.sample_ids.push_back(sample_ids.at(i));
    out.logits_a = logits_a.values(), out.logits_v = logits_v.values(), out.prior = prior.values();
    out.ratio = ratio.at(0), out.epoch = static_cast<uint32_t>(epoch.at(0)), out.seed = options.seed;
    out.hide = options.hide, out.lift = options.lift, out.trust = options.trust;
    out.momentum = options.momentum, out.largest_lift = options.largest_lift;
    out.unannotated_kappa = options.unannotated_kappa, out.pair_weight_scale = options.pair_weight_scale;
    out.unread = options.unread, out.generality = options.generality;
    return out;
  }
};

struct State {
  Floats predicted, concord;

  explicit State(int64_t classes) : predicted(classes, 1), concord(1, 1) { predicted.fill(1.0 / static_cast<double>(classes)), concord.fill(0); }
  duet_supervision_state view() {
    duet_supervision_state out = DUET_SUPERVISION_STATE_INIT;
    out.predicted = predicted.vector(), out.concord = concord.vector();
    return out;
  }
};

struct Result {
  Floats class_q, trust, kappa, annotated, hidden_trust, counts, pair_weight, anchor_weight;

  Result(int64_t samples, int64_t classes)
      : class_q(samples, classes, 1),
        trust(samples, 1),
        kappa(samples, 1),
        annotated(samples, 1),
        hidden_trust(samples, 1),
        counts(2, 1),
        pair_weight(1, 1),
        anchor_weight(samples, 1) {}
  duet_supervision_outputs outputs() {
    duet_supervision_outputs out = DUET_SUPERVISION_OUTPUTS_INIT;
    out.class_q = class_q.matrix(), out.trust = trust.vector(), out.kappa = kappa.vector(), out.annotated = annotated.vector();
    out.hidden_trust = hidden_trust.vector(), out.counts = counts.vector(), out.pair_weight = pair_weight.vector();
    out.anchor_weight = anchor_weight.vector();
    return out;
  }
  bool same_bits(const Result& other) const {
    return class_q.same_bits(other.class_q) && trust.same_bits(other.trust) && kappa.same_bits(other.kappa) && annotated.same_bits(other.annotated) &&
           hidden_trust.same_bits(other.hidden_trust) && counts.same_bits(other.counts) && pair_weight.same_bits(other.pair_weight) &&
           anchor_weight.same_bits(other.anchor_weight);
  }
};

Batch draw_batch(uint64_t seed, int64_t samples, int64_t classes, double unlabelled, int64_t padding = 0) {
  Draw draw(seed);
  Batch batch{draw.labels(samples, classes, unlabelled),
              Longs(samples, 1),
              draw.normals(samples, classes, 2, padding),
              draw.normals(samples, classes, 2, padding),
              Floats(classes, 1),
              Floats(1, 1),
              Longs(1, 1)};
  for (int64_t i = 0; i < samples; ++i) {
    batch.sample_ids.at(i) = draw.integer(0, int64_t{1} << 40);
    for (int64_t c = 0; c < classes; ++c) batch.logits_v.at(i, c) += batch.logits_a.at(i, c);  // heads that often agree
  }
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += batch.prior.at(c) = static_cast<float>(1 + 3 * draw.uniform(0, 1));
  for (int64_t c = 0; c < classes; ++c) batch.prior.at(c) = static_cast<float>(batch.prior.at(c) / sum);
  batch.ratio.at(0) = 0.65f, batch.epoch.at(0) = 11, batch.options.seed = 0x123456789ABCDEF;
  return batch;
}

Result run(Batch& batch, State& state, int threads) {
  Context context(threads);
  const auto inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_supervision_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  Result result(batch.labels.rows(), batch.logits_a.columns());
  const auto outputs = result.outputs();
  const auto view = state.view();
  SUCCEED_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()));
  return result;
}

// One step with every number of threads from the same state, which it moves on; compared with the reference from that state.
Result step(Batch& batch, State& state) {
  const State before = state;
  const Result result = run(batch, state, 1);
  for (const int threads : other_thread_counts()) {
    State again = before;
    CHECK(run(batch, again, threads).same_bits(result));
    CHECK((again.predicted.same_bits(state.predicted) && again.concord.same_bits(state.concord)));
  }
  Doubles predicted = before.predicted.values();
  double concord = before.concord.at(0);
  const auto expected = reference::supervision(batch.expected(), predicted, concord);
  // Computed in double from a state in float32: u and with it the lift are off by an ulp or two, q at most as much; concord^8 eight times that.
  const double rounding = 3e-7;
  check_close(state.predicted.values(), predicted, rounding, "predicted");
  check_close(state.concord.values(), {concord}, rounding, "concord");
  check_close(result.class_q.values(), expected.class_q, rounding, "class_q");
  check_close(result.pair_weight.values(), expected.pair_weight, 8 * rounding * 3 * batch.options.pair_weight_scale, "pair_weight");
  check_close(result.anchor_weight.values(), expected.anchor_weight, rounding, "anchor_weight");
  check_close(result.kappa.values(), expected.kappa, rounding, "kappa");
  check_close(result.trust.values(), expected.trust, 0, "trust");
  check_close(result.annotated.values(), expected.annotated, 0, "annotated");
  check_close(result.hidden_trust.values(), expected.hidden_trust, 0, "hidden_trust");
  check_close(result.counts.values(), expected.counts, 0, "counts");
  return result;
}

}  // namespace

TEST_CASE("supervision agrees with the double reference") {
  struct Shape {
    int64_t samples, classes;
    double unlabelled;
  };
  for (const Shape& shape : {Shape{1, 1, 0}, Shape{1, 5, 1}, Shape{7, 3, 0.3}, Shape{128, 10, 0.9}, Shape{131, 7, 0.5}, Shape{2111, 13, 0.2},
                             Shape{40, 4, 1}, Shape{3, 2100, 0.5}})
    for (const int mask : {0, 1, 2, 3, 4, 5, 6, 7}) {
      // Emulated, a sample takes some 2000 steps of its threads and more for its classes; each call here is made 6 times.
      const int64_t steps_taken = 6 * shape.samples * (2000 + 16 * shape.classes);
      if (!affordable(steps_taken) || (!affordable(8 * steps_taken) && mask != 7)) continue;
      CAPTURE(shape.samples);
      CAPTURE(mask);
      State state(shape.classes);
      for (int steps = 0; steps < 3; ++steps) {
        Batch batch = draw_batch(static_cast<uint64_t>(31 + steps), shape.samples, shape.classes, shape.unlabelled, steps);
        batch.options.hide = mask & 1, batch.options.lift = mask >> 1 & 1, batch.options.trust = mask >> 2 & 1;
        step(batch, state);
      }
    }
}

TEST_CASE("supervision follows its options") {
  State state(4);
  state.predicted.assign({0.001, 0.4, 0.3, 0.299});
  Batch batch = draw_batch(37, 60, 4, 0.4);
  batch.options.momentum = 0.999f, batch.options.largest_lift = 3, batch.options.unannotated_kappa = 0.25f, batch.options.pair_weight_scale = 2;
  batch.options.unread = 0.3, batch.options.generality = 0.6;
  state.concord.fill(0.9);
  step(batch, state);
  CHECK(state.concord.at(0) > 0.85);
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
    FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &one, scratch.view()), DUET_INVALID_ARGUMENT, "expected both or neither");
    one = outputs;
    one.predicted.size = 4;
    FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &one, scratch.view()), DUET_INVALID_ARGUMENT,
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
  for (int64_t i = 0; i < 30; ++i) batch.logits_a.at(i, 0) = batch.logits_v.at(i, 0) = -std::numeric_limits<float>::infinity();
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
        for (int64_t i = 0; i < 30; ++i) CHECK(result.anchor_weight.at(i) == doctest::Approx(batch.labels.at(i) < 0 ? 1 : unread * unread));
        if (concord < 1) continue;
        Batch labelled = draw_batch(69, 30, 3, 0);  // which leaves concord alone
        labelled.options = batch.options;
        State full(3);
        full.concord.fill(1);
        CHECK(step(labelled, full).pair_weight.at(0) == doctest::Approx((1 + 2 * unread) * (1 - generality) * (1 - generality)));
      }
}

TEST_CASE("supervision of a caller that knows nothing of evidence has none") {
  Batch batch = draw_batch(71, 20, 3, 0.5);
  State state(3), older(3);
  Result expected = run(batch, state, 1);
  batch.options.struct_size = offsetof(duet_supervision_inputs, unread);
  batch.options.unread = 0.25, batch.options.generality = 0.5;  // behind the end of its struct
  CHECK(run(batch, older, 1).same_bits(expected));
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

TEST_CASE("supervision notes the first label or ratio out of range where its context notes faults") {
  for (const int64_t small_rows : {-1, 0}) {
    CAPTURE(small_rows);
    NotingContext context(small_rows);
    Batch batch = draw_batch(73, 40, 3, 0.5);
    const auto run_noting = [&](Result& result) {
      State state(3);
      const auto inputs = batch.inputs();
      const auto outputs = result.outputs();
      const auto view = state.view();
      size_t bytes = 0;
      SUCCEED_CALL(duet_supervision_workspace(context, &inputs, &bytes));
      const Scratch scratch(bytes);
      return duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view());
    };
    Result good(40, 3), bad(40, 3);
    SUCCEED_CALL(run_noting(good));
    CHECK(context.taken() == "");
    batch.labels.at(11) = 3, batch.labels.at(30) = -2, batch.ratio.at(0) = 1.5f;
    if (on_cpu()) {
      FAIL_CALL(run_noting(bad), DUET_INVALID_ARGUMENT, "inputs.labels[11]: expected -1 to 2, got 3");
      continue;
    }
    SUCCEED_CALL(run_noting(bad));
    CHECK(context.taken() == "fault_check: inputs.labels[11]: expected -1 to 2, got 3");
    for (int64_t c = 0; c < 3; ++c) CHECK(bad.class_q.at(11, c) == 0);
    batch.labels.at(11) = 2;
    SUCCEED_CALL(run_noting(bad));
    SUCCEED_CALL(run_noting(bad));
    CHECK(context.taken() == "fault_check: inputs.labels[30]: expected -1 to 2, got -2");
    batch.labels.at(30) = -1;
    for (const float ratio : {1.5f, -0.25f}) {
      batch.ratio.at(0) = ratio;
      SUCCEED_CALL(run_noting(bad));
      CHECK(context.taken() == "fault_check: inputs.ratio: expected 0 to 1, got " + std::string(ratio > 1 ? "1.5" : "-0.25"));
    }
  }
}

TEST_CASE("supervision in one launch and in tiles decides the same") {
  // About the most samples and classes that one launch takes, and what it does not take.
  for (const auto& shape : {std::pair<int64_t, int64_t>{256, 22}, {255, 9}, {3, 1203}, {1, 2}, {62, 94}, {63, 94}, {0, 5}, {257, 3}}) {
    const int64_t samples = shape.first, classes = shape.second;
    if (!affordable(samples * (2000 + 16 * classes))) continue;
    CAPTURE(samples);
    CAPTURE(classes);
    Batch batch = draw_batch(79, samples, classes, 0.5, 1);
    Result results[] = {Result(samples, classes), Result(samples, classes)};
    State states[] = {State(classes), State(classes)};
    for (int form = 0; form < 2; ++form) {
      const NotingContext context(form == 0 ? -1 : 256);
      const auto inputs = batch.inputs();
      const auto outputs = results[form].outputs();
      const auto view = states[form].view();
      size_t bytes = 0;
      SUCCEED_CALL(duet_supervision_workspace(context, &inputs, &bytes));
      const Scratch scratch(bytes);
      SUCCEED_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()));
    }
    // Their sums differ in the last bits of double, so that u may differ by a rounding of float32, and q by what that makes of it.
    const double rounding = 1.2e-7;
    check_close(states[1].predicted.values(), states[0].predicted.values(), rounding, "predicted");
    check_close(states[1].concord.values(), states[0].concord.values(), 0, "concord");
    check_close(results[1].class_q.values(), results[0].class_q.values(), 2 * rounding, "class_q");
    check_close(results[1].trust.values(), results[0].trust.values(), 0, "trust");
    check_close(results[1].annotated.values(), results[0].annotated.values(), 0, "annotated");
    check_close(results[1].hidden_trust.values(), results[0].hidden_trust.values(), 0, "hidden_trust");
    check_close(results[1].kappa.values(), results[0].kappa.values(), 0, "kappa");
    check_close(results[1].anchor_weight.values(), results[0].anchor_weight.values(), 0, "anchor_weight");
    check_close(results[1].counts.values(), results[0].counts.values(), 0, "counts");
    check_close(results[1].pair_weight.values(), results[0].pair_weight.values(), 0, "pair_weight");
  }
}

TEST_CASE("supervision refuses misuse") {
  Context context;
  Batch batch = draw_batch(61, 6, 3, 0.5);
  State state(3), narrow(2);
  Result result(6, 3);
  const auto inputs = batch.inputs();
  const auto outputs = result.outputs();
  const auto view = state.view(), wrong_state = narrow.view();
  size_t bytes = 0;
  SUCCEED_CALL(duet_supervision_workspace(context, &inputs, &bytes));
  const Scratch scratch(bytes);
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, {scratch.view().data, bytes - 1}), DUET_WORKSPACE_TOO_SMALL, "workspace");
  FAIL_CALL(duet_supervision_forward(context, &inputs, &wrong_state, &outputs, scratch.view()), DUET_INVALID_ARGUMENT,
            "state.predicted: expected 3 elements, got 2");
  FAIL_CALL(duet_supervision_forward(context, &inputs, nullptr, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "state: null");
  FAIL_CALL(duet_supervision_forward(nullptr, &inputs, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "context: null");
  auto wrong_outputs = outputs;
  wrong_outputs.counts.size = 1;
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &wrong_outputs, scratch.view()), DUET_INVALID_ARGUMENT,
            "outputs.counts: expected 2 elements, got 1");
  auto wrong = inputs;
  wrong.momentum = 1.5f;
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.momentum: expected 0 to 1");
  wrong = inputs;
  wrong.logits_v.columns = 2;
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT,
            "inputs.logits_v: expected 6 x 3, got 6 x 2");
  batch.labels.at(4) = 3;
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT,
            "inputs.labels[4]: expected -1 to 2, got 3");
  batch.labels.at(4) = 2;
  batch.ratio.at(0) = std::numeric_limits<float>::quiet_NaN();
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.ratio: expected 0 to 1");
  batch.ratio.at(0) = 1;
  wrong = inputs;
  wrong.unread = -0.5;
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.unread: expected 0 to 1");
  wrong = inputs;
  wrong.generality = std::numeric_limits<double>::quiet_NaN();
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_INVALID_ARGUMENT, "inputs.generality: expected 0 to 1");
  wrong_outputs = outputs;
  wrong_outputs.anchor_weight.size = 5;
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &wrong_outputs, scratch.view()), DUET_INVALID_ARGUMENT,
            "outputs.anchor_weight: expected 6 elements, got 5");
  CHECK(state.concord.at(0) == 0);  // a refused call leaves the state
}
