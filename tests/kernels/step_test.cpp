// A step's mail, its verdict and what moves with it; on a device also what a noted fault does.
#include "tests/kernels/step_problem.h"

using namespace duet::test;
using namespace duet::test::step;

TEST_CASE("a step takes the slot of its number, as much of it as it asks for, and is counted") {
  Context context(1);
  constexpr int64_t kMost = 300;  // more than a block has threads
  for (const int64_t slots : {1, 3})
    for (const int64_t before : {int64_t{0}, (int64_t{1} << 33) + 1})
      for (const int64_t count : {kMost, kMost - 1, int64_t{7}, int64_t{1}, int64_t{0}}) {
        CAPTURE(slots);
        CAPTURE(before);
        CAPTURE(count);
        Mail mail(slots, 5, 3, kMost);
        const duet_step_mail view = mail.view();
        Longs begun(1, 1);
        begun.fill(static_cast<double>(before));
        for (int64_t step = before; step <= before + slots; ++step) {
          Floats values(5, 1);
          Longs integers(3, 1), indices(count, 1);
          SUCCEED_CALL(duet_step_begin(context, &view,
                                       sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                                       .values = values.vector(),
                                                                       .integers = integers.vector(),
                                                                       .indices = indices.vector()})));
          const int64_t slot = step % slots;
          CHECK(begun.at(0) == step + 1);
          for (int64_t k = 0; k < 5; ++k) CHECK(values.at(k) == mail.values.at(slot, k));
          for (int64_t k = 0; k < 3; ++k) CHECK(integers.at(k) == mail.integers.at(slot, k));
          for (int64_t k = 0; k < count; ++k) REQUIRE(indices.at(k) == mail.indices.at(slot, k));
        }
      }
}

TEST_CASE("mail without values or integers is mail too") {
  Context context(1);
  Mail mail(2, 0, 0, 4);
  const duet_step_mail view = mail.view();
  Longs begun = Longs(1, 1).fill(1), indices(4, 1);
  SUCCEED_CALL(duet_step_begin(context, &view,
                               sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                               .values = duet_f32_vector(nullptr, 0),
                                                               .integers = duet_i64_vector(nullptr, 0),
                                                               .indices = indices.vector()})));
  CHECK(begun.at(0) == 2);
  for (int64_t k = 0; k < 4; ++k) CHECK(indices.at(k) == mail.indices.at(1, k));
}

TEST_CASE("a step changes something where a reason holds and the total is finite") {
  Context context(1);
  Decision decision;
  Floats zero = Floats(1, 1).fill(0), one = Floats(1, 1).fill(1), two = Floats(1, 1).fill(2),
         negative = Floats(1, 1).fill(-1), nothing = Floats(1, 1).fill(kNaN), tiny = Floats(1, 1).fill(1e-40);
  const duet_vector none = {};
  struct Case {
    std::vector<duet_step_reason> reasons;
    bool holds;
  };
  const Case cases[] = {
      {{}, false},
      {{{none, none, 0}}, true},
      {{{none, none, 5}}, true},  // more_than is of a value
      {{{zero.vector(), none, 0}}, false},
      {{{negative.vector(), none, 0}}, false},
      {{{nothing.vector(), none, 0}}, false},
      {{{tiny.vector(), none, 0}}, true},
      {{{one.vector(), none, 5}}, true},
      {{{none, zero.vector(), 0}}, false},
      {{{none, one.vector(), 0}}, true},
      {{{none, one.vector(), 1}}, false},
      {{{none, two.vector(), 1}}, true},
      {{{none, negative.vector(), -2}}, true},
      {{{none, nothing.vector(), 0}}, false},
      {{{zero.vector(), two.vector(), 1}}, false},
      {{{two.vector(), zero.vector(), 1}}, false},
      {{{one.vector(), two.vector(), 1}}, true},
      {{{zero.vector(), none, 0}, {none, one.vector(), 0}}, true},
      {{{none, one.vector(), 0}, {zero.vector(), none, 0}}, true},
      {{{zero.vector(), two.vector(), 0}, {two.vector(), zero.vector(), 0}}, false},  // halves of two reasons are none
      {std::vector<duet_step_reason>(DUET_STEP_MOST_REASONS, {zero.vector(), none, 0}), false},
  };
  for (const Case& which : cases)
    for (const float total : {0.5f, 0.0f, -3e38f, std::nanf(""), kInfinity, -kInfinity}) {
      CAPTURE(&which - cases);
      CAPTURE(total);
      const duet_step_verdict expected = !which.holds           ? DUET_STEP_VERDICT_IDLE
                                         : std::isfinite(total) ? DUET_STEP_VERDICT_CHANGES
                                                                : DUET_STEP_VERDICT_NOT_FINITE;
      decision.forget();
      decision.total.fill(total), decision.begun.fill(6), decision.updates.fill(3);
      REQUIRE(decision.run(context, which.reasons) == DUET_STATUS_OK);
      decision.check(expected, 1, expected == DUET_STEP_VERDICT_CHANGES ? 4 : 3,
                     expected == DUET_STEP_VERDICT_NOT_FINITE ? 6 : 0);
      CHECK(decision.faults[1].argument == nullptr);
    }
  std::vector<duet_step_reason> last(DUET_STEP_MOST_REASONS, {zero.vector(), none, 0});
  last.back() = {one.vector(), none, 0};
  decision.forget();
  REQUIRE(decision.run(context, last) == DUET_STATUS_OK);
  decision.check(DUET_STEP_VERDICT_CHANGES, 0, 1, 0);
}

TEST_CASE("after a step that failed none changes anything, whatever it is; an idle one stops nobody") {
  Context context(1);
  Decision decision;
  const auto step = [&](int64_t number, double total, const std::vector<duet_step_reason>& reasons = {{{}, {}, 0, 0}}) {
    const double updates = static_cast<double>(decision.updates.at(0)),
                 failed = static_cast<double>(decision.failed.at(0));
    decision.forget();
    decision.begun.fill(static_cast<double>(number)), decision.updates.fill(updates), decision.failed.fill(failed),
        decision.total.fill(total);
    REQUIRE(decision.run(context, reasons) == DUET_STATUS_OK);
  };
  step(1, 1), decision.check(DUET_STEP_VERDICT_CHANGES, 0, 1, 0);
  step(2, 1, {}), decision.check(DUET_STEP_VERDICT_IDLE, 1, 1, 0);
  step(3, 1), decision.check(DUET_STEP_VERDICT_CHANGES, 2, 2, 0);
  step(4, kNaN), decision.check(DUET_STEP_VERDICT_NOT_FINITE, 3, 2, 4);
  step(5, 1), decision.check(DUET_STEP_VERDICT_AFTER, 0, 2, 4);
  step(6, kNaN), decision.check(DUET_STEP_VERDICT_AFTER, 1, 2, 4);
  step(7, 1, {}), decision.check(DUET_STEP_VERDICT_AFTER, 2, 2, 4);
  decision.failed.fill(0);
  step(8, 1), decision.check(DUET_STEP_VERDICT_CHANGES, 3, 3, 0);
}

TEST_CASE("a decision before any step has begun keeps to its memory") {
  Context context(1);
  Decision decision;
  for (const int64_t begun : {int64_t{0}, int64_t{-3}, INT64_MIN + 1}) {
    decision.forget();
    decision.begun.at(0) = begun;
    REQUIRE(decision.run(context) == DUET_STATUS_OK);
    decision.check(DUET_STEP_VERDICT_CHANGES, 0, 1, 0);
  }
  Mail mail(3, 1, 1, 1);
  const duet_step_mail view = mail.view();
  Longs begun = Longs(1, 1).fill(-2), integers(1, 1), indices(1, 1);
  Floats values(1, 1);
  SUCCEED_CALL(duet_step_begin(context, &view,
                               sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                               .values = values.vector(),
                                                               .integers = integers.vector(),
                                                               .indices = indices.vector()})));
  CHECK((begun.at(0) == -1 && values.at(0) == mail.values.at(0, 0)));
}

TEST_CASE("a decision that moves and reports nothing decides") {
  Context context(1);
  Decision decision;
  decision.reports_faults = false;
  const duet_step_reason reason = {};
  duet_step_decision bare = DUET_STEP_DECISION_INIT;
  bare.total = decision.total.vector(), bare.reasons = &reason, bare.reason_count = 1;
  FAIL_CALL(decision.decide(context, bare), DUET_STATUS_INVALID_ARGUMENT, "report.values: expected 4 x 0, got 4 x 303");
  Floats values(Decision::kSlots, 0);
  decision.values = values;
  REQUIRE(decision.decide(context, bare) == DUET_STATUS_OK);
  CHECK((decision.apply.at(0) == 1 && decision.verdicts.at(0) == DUET_STEP_VERDICT_CHANGES &&
         decision.updates.at(0) == 1));
  for (const duet_fault& fault : decision.faults) CHECK(fault.position == 1);  // null: none is written
}

TEST_CASE("the first value out of range that a context has noted makes its step and all after it change nothing") {
  NotingContext context;
  Decision decision;
  if (on_cpu()) {  // a call refuses such a value itself, and no fault is reported
    REQUIRE(decision.run(context) == DUET_STATUS_OK);
    CHECK(decision.faults[0].argument == nullptr);
    return;
  }
  Floats source = Floats(5, 3).fill(1), rows(2, 3);
  Longs indices(2, 1);
  indices.at(0) = 4, indices.at(1) = 5;
  REQUIRE(decision.run(context) == DUET_STATUS_OK);
  decision.check(DUET_STEP_VERDICT_CHANGES, 0, 1, 0);
  CHECK(decision.faults[0].argument == nullptr);
  SUCCEED_CALL(duet_gather_forward(context,
                                   sized<duet_gather_inputs>({.source = source.matrix(), .indices = indices.vector()}),
                                   sized<duet_gather_outputs>({.rows = rows.matrix()})));
  const auto check_reported = [&](size_t slot) {
    CHECK(duet_fault_check(&decision.faults[slot]) == DUET_STATUS_INVALID_ARGUMENT);
    CHECK(std::string(duet_last_error()) == "fault_check: inputs.indices[1]: expected 0 to 4, got 5");
  };
  // Before every other verdict: with a reason and without one, of a total that is no number.
  for (const double total : {1.0, kNaN})
    for (const bool idle : {false, true}) {
      decision.forget();
      decision.begun.fill(2), decision.total.fill(total);
      REQUIRE(decision.run(context, idle ? std::vector<duet_step_reason>{}
                                         : std::vector<duet_step_reason>{{{}, {}, 0, 0}}) == DUET_STATUS_OK);
      decision.check(DUET_STEP_VERDICT_FAULT, 1, 0, 2);
      check_reported(1);
    }
  decision.forget();
  decision.begun.fill(3), decision.failed.fill(2);
  REQUIRE(decision.run(context) == DUET_STATUS_OK);
  decision.check(DUET_STEP_VERDICT_AFTER, 2, 0, 2);
  check_reported(2);
  CHECK_FALSE(context.taken().empty());  // forgets it
  decision.forget();
  REQUIRE(decision.run(context) == DUET_STATUS_OK);
  decision.check(DUET_STEP_VERDICT_CHANGES, 0, 1, 0);
}

TEST_CASE("a scale is the exponential of its logarithm, and adds its share of the gradient to what is there") {
  Context context(1);
  for (const float logarithm : {-100.0f, -3.25f, 0.0f, 1.0f, 2.6592600f, 4.6051702f, 88.0f, 100.0f, -kInfinity}) {
    CAPTURE(logarithm);
    Floats from = Floats(1, 1).fill(logarithm), scale(1, 1), upstream = Floats(1, 1).fill(-0.375),
           grad = Floats(1, 1).fill(0.5);
    SUCCEED_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = from.vector()}),
                                         sized<duet_step_scale_outputs>({.scale = scale.vector()})));
    // The host's exponential; a device's is one unit in float64's last place from it, which float32 rounds away or to
    // its next number.
    const double expected = std::exp(double{logarithm});
    const auto rounded = static_cast<float>(expected);
    if (on_cpu() || device.emulated)
      CHECK(scale.at(0) == rounded);
    else
      CHECK((scale.at(0) >= std::nextafter(rounded, 0.0f) && scale.at(0) <= std::nextafter(rounded, kInfinity)));
    if (!std::isfinite(rounded)) continue;
    SUCCEED_CALL(duet_step_scale_backward(
        context, sized<duet_step_scale_inputs>({}),
        sized<duet_step_scale_gradients>(
            {.scale = scale.vector(), .grad_scale = upstream.vector(), .grad_logarithm = grad.vector()})));
    // A product and a sum, each rounded or both at once.
    const double sum = 0.5 - 0.375 * rounded;
    CHECK(std::abs(grad.at(0) - sum) <= 1.2e-7 * std::max(1.0, 0.375 * rounded));
    CHECK(upstream.at(0) == -0.375f);
  }
}
