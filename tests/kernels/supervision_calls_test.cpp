// What a call of supervision takes and refuses, whatever it decides: older callers, values out of range, which form a
// shape takes, misuse.
#include <limits>

#include "tests/kernels/supervision_problem.h"
#include "tests/support/faults.h"

using namespace duet::test;
using namespace duet::test::supervision;

TEST_CASE("supervision notes the first label or ratio out of range where its context notes faults") {
  for (const int64_t small_rows : {-1, 0}) {
    CAPTURE(small_rows);
    NotingContext context(small_rows);
    Batch batch = draw_batch(73, 40, 3, 0.5);
    const auto run_noting = [&](Result& result) {
      State state(3);
      return run_on(context, batch, state, result);
    };
    Result good(40, 3), bad(40, 3);
    SUCCEED_CALL(run_noting(good));
    CHECK(context.taken() == "");
    batch.labels.at(11) = 3, batch.labels.at(30) = -2, batch.ratio.at(0) = 1.5f;
    if (on_cpu()) {
      FAIL_CALL(run_noting(bad), DUET_STATUS_INVALID_ARGUMENT, "inputs.labels[11]: expected -1 to 2, got 3");
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
      CHECK(context.taken() ==
            "fault_check: inputs.ratio: expected 0 to 1, got " + std::string(ratio > 1 ? "1.5" : "-0.25"));
    }
  }
}

TEST_CASE("supervision notes a label that is no row of its table of label sets") {
  for (const int64_t small_rows : {-1, 0}) {
    CAPTURE(small_rows);
    NotingContext context(small_rows);
    Batch batch = draw_batch(74, 40, 3, 0);
    batch.options.hide = 0;
    batch.label_sets = {{{0}, {1, 2}, {0, 2}, {2}, {0, 1, 2}}, 3};
    State state(3);
    Result result(40, 3);
    batch.labels.at(7) = 4;
    SUCCEED_CALL(run_on(context, batch, state, result));
    CHECK(context.taken() == "");
    CHECK(result.class_q.at(7, 1) == 1.0f / 3);
    batch.labels.at(11) = 5;
    if (on_cpu()) {
      FAIL_CALL(run_on(context, batch, state, result), DUET_STATUS_INVALID_ARGUMENT,
                "inputs.labels[11]: expected -1 to 4, got 5");
      continue;
    }
    SUCCEED_CALL(run_on(context, batch, state, result));
    CHECK(context.taken() == "fault_check: inputs.labels[11]: expected -1 to 4, got 5");
    for (int64_t c = 0; c < 3; ++c) CHECK(result.class_q.at(11, c) == 0);
  }
}

TEST_CASE("supervision in one launch and in tiles decides the same") {
  // About the most samples and classes that one launch takes, and what it does not take.
  for (const auto& shape :
       {std::pair<int64_t, int64_t>{256, 22}, {255, 9}, {3, 1203}, {1, 2}, {62, 94}, {63, 94}, {0, 5}, {257, 3}}) {
    const int64_t samples = shape.first, classes = shape.second;
    if (!affordable(samples * (2000 + 16 * classes))) continue;
    CAPTURE(samples);
    CAPTURE(classes);
    Batch batch = draw_batch(79, samples, classes, 0.5, 1);
    Result results[] = {Result(samples, classes), Result(samples, classes)};
    State states[] = {State(classes), State(classes)};
    for (int form = 0; form < 2; ++form) {
      const NotingContext context(form == 0 ? -1 : 256);
      SUCCEED_CALL(run_on(context, batch, states[form], results[form]));
    }
    // Their sums differ in the last bits of double, so that u may differ by a rounding of float32, and q by what that
    // makes of it.
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
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, {scratch.view().data, bytes - 1}),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
  FAIL_CALL(duet_supervision_forward(context, &inputs, &wrong_state, &outputs, scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "state.predicted: expected 3 elements, got 2");
  FAIL_CALL(duet_supervision_forward(context, &inputs, nullptr, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "state: null");
  FAIL_CALL(duet_supervision_forward(nullptr, &inputs, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "context: null");
  auto wrong_outputs = outputs;
  wrong_outputs.counts.size = 1;
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &wrong_outputs, scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "outputs.counts: expected 2 elements, got 1");
  auto wrong = inputs;
  wrong.momentum = 1.5f;
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.momentum: expected 0 to 1");
  wrong = inputs;
  wrong.logits_v.columns = 2;
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.logits_v: expected 6 x 3, got 6 x 2");
  wrong = inputs;
  int32_t words[6] = {};
  wrong.label_sets = {words, 3, 2, 2, DUET_DTYPE_I32, 0};
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.label_sets: expected any x 1, got 3 x 2");
  batch.labels.at(4) = 3;
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.labels[4]: expected -1 to 2, got 3");
  batch.labels.at(4) = 2;
  batch.ratio.at(0) = std::numeric_limits<float>::quiet_NaN();
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.ratio: expected 0 to 1");
  batch.ratio.at(0) = 1;
  wrong = inputs;
  wrong.unread = -0.5;
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.unread: expected 0 to 1");
  wrong = inputs;
  wrong.generality = std::numeric_limits<double>::quiet_NaN();
  FAIL_CALL(duet_supervision_forward(context, &wrong, &view, &outputs, scratch.view()), DUET_STATUS_INVALID_ARGUMENT,
            "inputs.generality: expected 0 to 1");
  wrong_outputs = outputs;
  wrong_outputs.anchor_weight.size = 5;
  FAIL_CALL(duet_supervision_forward(context, &inputs, &view, &wrong_outputs, scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "outputs.anchor_weight: expected 6 elements, got 5");
  CHECK(state.concord.at(0) == 0);  // a refused call leaves the state
}
