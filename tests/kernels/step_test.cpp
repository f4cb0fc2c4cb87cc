// A step's mail, its verdict and what moves with it; on a device also what a noted fault does.
#include <array>
#include <string>
#include <vector>

#include "tests/support/arrays.h"
#include "tests/support/faults.h"

using namespace duet::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rings of slots whose every number says where it lies.
struct Mail {
  Mail(int64_t slots, int64_t value_count, int64_t integer_count, int64_t most_indices)
      : values(slots, value_count, 2), integers(slots, integer_count, 1), indices(slots, most_indices, 3) {
    for (int64_t s = 0; s < slots; ++s) {
      for (int64_t k = 0; k < value_count; ++k) values.at(s, k) = static_cast<float>(1000 * s + k) + 0.5f;
      for (int64_t k = 0; k < integer_count; ++k) integers.at(s, k) = 1'000'000 * s + k;
      for (int64_t k = 0; k < most_indices; ++k) indices.at(s, k) = (int64_t{1} << 40) + 10'000 * s + k;
    }
  }
  duet_step_mail view() {
    duet_step_mail mail = DUET_STEP_MAIL_INIT;
    mail.values = values.matrix(), mail.integers = integers.matrix(), mail.indices = indices.matrix();
    return mail;
  }
  Floats values;
  Longs integers, indices;
};

// Everything that a decision reads and writes. Two pieces of state move, one wider than a block; what is reported was
// moved, is something else, or is null. Of what was moved the first element is left out, so that an element is reported
// by another thread than moved it.
struct Decision {
  static constexpr int64_t kSlots = 4, kWide = 300, kNarrow = 2, kShown = kWide - 1,
                           kReported = kShown + 1 + kNarrow + 1;
  static constexpr float kOld = 1, kNew = 2, kUntouched = -7;

  Decision() { forget(); }
  void forget() {
    total.fill(0.5), wide.fill(kOld), narrow.fill(kOld), next_wide.fill(kNew), next_narrow.fill(kNew), loss.fill(9);
    verdicts.fill(-1), values.fill(kUntouched), apply.fill(-1);
    faults.assign(kSlots, duet_fault{"old", 1, 2, 3, 4});
    begun.fill(1), updates.fill(0), failed.fill(0);
  }
  // Holds nothing back: a reason without conditions.
  duet_status run(duet_context* context, const std::vector<duet_step_reason>& reasons = {{{}, {}, 0, 0}}) {
    const std::array<duet_step_move, 2> moves = {
        {{wide.vector(), next_wide.vector()}, {narrow.vector(), next_narrow.vector()}}};
    const std::array<duet_const_vector, 6> reported = {duet_f32_vector(&wide.at(1), kShown),
                                                       loss.vector(),
                                                       duet_const_vector{},
                                                       next_narrow.vector(),
                                                       total.vector(),
                                                       duet_const_vector{}};
    duet_step_decision decision = DUET_STEP_DECISION_INIT;
    decision.total = total.vector();
    decision.reasons = reasons.data(), decision.reason_count = std::ssize(reasons);
    decision.moves = moves.data(), decision.move_count = std::ssize(moves);
    decision.reported = reported.data(), decision.reported_count = std::ssize(reported);
    return decide(context, decision);
  }
  duet_status decide(duet_context* context, const duet_step_decision& decision) {
    duet_step_counters counters = DUET_STEP_COUNTERS_INIT;
    counters.begun = begun.vector(), counters.updates = updates.vector(), counters.failed = failed.vector();
    duet_step_report report = DUET_STEP_REPORT_INIT;
    report.apply = apply.vector(), report.verdicts = verdicts.matrix(), report.values = values.matrix(),
    report.faults = reports_faults ? faults.data() : nullptr;
    const duet_status status = duet_step_decide(context, &decision, &counters, &report);
    device.synchronize();
    return status;
  }

  // The answer of the step that was the last to begin, and nothing else than that has changed.
  void check(duet_step_verdict expected, int64_t slot, int64_t updates_expected, int64_t failed_expected) {
    const bool changes = expected == DUET_STEP_VERDICT_CHANGES;
    CHECK(apply.at(0) == (changes ? 1 : 0));
    CHECK(updates.at(0) == updates_expected);
    CHECK(failed.at(0) == failed_expected);
    const float state = changes ? kNew : kOld;
    for (int64_t k = 0; k < kWide; ++k) REQUIRE(wide.at(k) == state);
    for (int64_t k = 0; k < kNarrow; ++k) CHECK((narrow.at(k) == state && next_narrow.at(k) == kNew));
    for (int64_t s = 0; s < kSlots; ++s) {
      CAPTURE(s);
      const bool own = s == slot;
      CHECK(verdicts.at(s) == (own ? static_cast<int64_t>(expected) : -1));
      for (int64_t k = 0; k < kShown; ++k) REQUIRE(values.at(s, k) == (own ? state : kUntouched));
      CHECK(values.at(s, kShown) == (own ? 9 : kUntouched));
      for (int64_t k = 1; k <= kNarrow; ++k) CHECK(values.at(s, kShown + k) == (own ? kNew : kUntouched));
      CHECK(std::memcmp(&values.at(s, kReported - 1), own ? &total.at(0) : &kUntouched, sizeof(float)) ==
            0);  // it may be NaN
      if (!own)
        CHECK((faults[static_cast<size_t>(s)].argument != nullptr && faults[static_cast<size_t>(s)].position == 1));
    }
  }

  Floats total{1, 1}, wide{kWide, 1}, next_wide{kWide, 1}, narrow{kNarrow, 1}, next_narrow{kNarrow, 1}, loss{1, 1};
  Longs begun{1, 1}, updates{1, 1}, failed{1, 1}, verdicts{kSlots, 1, 1};
  Ints apply{1, 1};
  Floats values{kSlots, kReported, 5};
  std::vector<duet_fault, DeviceAllocator<duet_fault>> faults;
  bool reports_faults = true;
};

}  // namespace

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

TEST_CASE("mail that is none is refused by name") {
  Context context(1);
  Mail mail(4, 3, 2, 7);
  const duet_step_mail good = mail.view();
  Longs begun = Longs(1, 1).fill(0), integers(2, 1), indices(5, 1);
  Floats values(3, 1);
  const auto begin = [&](const duet_step_mail* from) {
    return duet_step_begin(context, from,
                           sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                           .values = values.vector(),
                                                           .integers = integers.vector(),
                                                           .indices = indices.vector()}));
  };
  const auto refused = [&](const std::string& words, const std::function<void(duet_step_mail&)>& spoil) {
    duet_step_mail bad = good;
    spoil(bad);
    FAIL_CALL(begin(&bad), DUET_STATUS_INVALID_ARGUMENT, "step_begin: " + words);
  };
  FAIL_CALL(begin(nullptr), DUET_STATUS_INVALID_ARGUMENT, "step_begin: mail: null");
  refused("mail.struct_size: expected 128 as the struct's _INIT sets it, got 0",
          [](duet_step_mail& bad) { bad.struct_size = 0; });
  refused("mail.values: expected at least 1 slot, got 0", [](duet_step_mail& bad) { bad.values.rows = 0; });
  refused("mail.integers: expected 4 x any, got 3 x 2", [](duet_step_mail& bad) { bad.integers.rows = 3; });
  refused("mail.indices: expected 4 x any, got 5 x 7", [](duet_step_mail& bad) { bad.indices.rows = 5; });
  refused("mail.indices: null data for 4 x 7", [](duet_step_mail& bad) { bad.indices.data = nullptr; });
  refused("mail.indices: expected dtype i64, got i32", [](duet_step_mail& bad) { bad.indices.dtype = DUET_DTYPE_I32; });
  refused("outputs.values: expected 2 elements, got 3", [](duet_step_mail& bad) { bad.values.columns = 2; });
  refused("outputs.integers: expected 1 elements, got 2", [](duet_step_mail& bad) { bad.integers.columns = 1; });
  refused("outputs.indices: expected at most 4 (the indices of a slot), got 5",
          [](duet_step_mail& bad) { bad.indices.columns = 4; });
  refused("outputs.indices: shares memory with mail.indices",
          [&](duet_step_mail& bad) { bad.indices.data = indices.data() - bad.indices.row_stride; });
  refused("outputs.begun: shares memory with mail.integers",
          [&](duet_step_mail& bad) { bad.integers.data = begun.data() - bad.integers.row_stride; });
  FAIL_CALL(duet_step_begin(context, &good,
                            sized<duet_step_begin_outputs>({.begun = integers.vector(),
                                                            .values = values.vector(),
                                                            .integers = integers.vector(),
                                                            .indices = indices.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "begun: expected 1 elements, got 2");
  FAIL_CALL(duet_step_begin(context, &good,
                            sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                            .values = values.vector(),
                                                            .integers = integers.vector(),
                                                            .indices = integers.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "indices: shares memory with outputs.integers");
  FAIL_CALL(duet_step_begin(nullptr, &good,
                            sized<duet_step_begin_outputs>({.begun = begun.vector(),
                                                            .values = values.vector(),
                                                            .integers = integers.vector(),
                                                            .indices = indices.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "step_begin: context: null");
  CHECK(begun.at(0) == 0);
  REQUIRE(begin(&good) == DUET_STATUS_OK);
}

TEST_CASE("a decision that is none is refused by name, and changes nothing") {
  Context context(1);
  Decision given;
  const duet_step_reason reason = {};
  std::array<duet_step_move, 1> moves = {{{given.wide.vector(), given.next_wide.vector()}}};
  const duet_const_vector reported = given.loss.vector();
  Floats values(Decision::kSlots, 1);
  given.values = values.fill(Decision::kUntouched);
  duet_step_decision good = DUET_STEP_DECISION_INIT;
  good.total = given.total.vector(), good.reasons = &reason, good.reason_count = 1, good.moves = moves.data(),
  good.move_count = 1;
  good.reported = &reported, good.reported_count = 1;
  const auto refused = [&](const std::string& words, const std::function<void(duet_step_decision&)>& spoil) {
    duet_step_decision bad = good;
    spoil(bad);
    FAIL_CALL(given.decide(context, bad), DUET_STATUS_INVALID_ARGUMENT, "step_decide: " + words);
  };
  FAIL_CALL(duet_step_decide(context, nullptr, nullptr, nullptr), DUET_STATUS_INVALID_ARGUMENT,
            "step_decide: decision: null");
  refused("decision.struct_size: expected ", [](duet_step_decision& bad) { bad.struct_size = 8; });
  refused("decision.total: expected dtype f32, got i32",
          [&](duet_step_decision& bad) { bad.total = given.apply.vector(); });
  refused("decision.total: expected 1 elements, got 300",
          [&](duet_step_decision& bad) { bad.total = given.wide.vector(); });
  refused("decision.reasons: expected 0 to 8 entries, got 9", [](duet_step_decision& bad) { bad.reason_count = 9; });
  refused("decision.reasons: expected 0 to 8 entries, got -1", [](duet_step_decision& bad) { bad.reason_count = -1; });
  refused("decision.reasons: null for 1 entries", [](duet_step_decision& bad) { bad.reasons = nullptr; });
  refused("decision.moves: expected 0 to 4 entries, got 5", [](duet_step_decision& bad) { bad.move_count = 5; });
  refused("decision.moves: null for 1 entries", [](duet_step_decision& bad) { bad.moves = nullptr; });
  refused("decision.reported: expected 0 to 24 entries, got 25",
          [](duet_step_decision& bad) { bad.reported_count = 25; });
  refused("decision.reported: null for 1 entries", [](duet_step_decision& bad) { bad.reported = nullptr; });
  const duet_step_reason wide_weight = {given.narrow.vector(), {}, 0, 0},
                         wide_value = {{}, given.narrow.vector(), 0, 0};
  refused("decision.reasons.weight: expected 1 elements, got 2",
          [&](duet_step_decision& bad) { bad.reasons = &wide_weight; });
  refused("decision.reasons.value: expected 1 elements, got 2",
          [&](duet_step_decision& bad) { bad.reasons = &wide_value; });
  const duet_step_move uneven = {given.narrow.vector(), given.next_wide.vector()},
                       itself = {given.wide.vector(), given.wide.vector()};
  refused("decision.moves.to: expected 300 elements, got 2", [&](duet_step_decision& bad) { bad.moves = &uneven; });
  refused("decision.moves.to: shares memory with decision.moves.from",
          [&](duet_step_decision& bad) { bad.moves = &itself; });
  const std::array<duet_step_move, 2> twice = {moves[0], moves[0]};
  refused("decision.moves.to: shares memory with decision.moves.to",
          [&](duet_step_decision& bad) { bad.moves = twice.data(), bad.move_count = 2; });
  refused("report.values: expected 4 x 0, got 4 x 1", [](duet_step_decision& bad) { bad.reported_count = 0; });

  duet_step_counters counters = DUET_STEP_COUNTERS_INIT;
  counters.begun = given.begun.vector(), counters.updates = given.updates.vector(),
  counters.failed = given.failed.vector();
  duet_step_report report = DUET_STEP_REPORT_INIT;
  report.apply = given.apply.vector(), report.verdicts = given.verdicts.matrix(), report.values = given.values.matrix();
  const auto call = [&](const duet_step_counters* of, const duet_step_report* to) {
    return duet_step_decide(context, &good, of, to);
  };
  FAIL_CALL(call(nullptr, &report), DUET_STATUS_INVALID_ARGUMENT, "step_decide: counters: null");
  FAIL_CALL(call(&counters, nullptr), DUET_STATUS_INVALID_ARGUMENT, "step_decide: report: null");
  duet_step_counters two = counters;
  two.updates = counters.failed;
  FAIL_CALL(call(&two, &report), DUET_STATUS_INVALID_ARGUMENT, "counters.failed: shares memory with counters.updates");
  two = counters, two.updates = {};
  FAIL_CALL(call(&two, &report), DUET_STATUS_INVALID_ARGUMENT, "counters.updates: expected dtype i64, got f32");
  duet_step_report wrong = report;
  wrong.verdicts.rows = 0;
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.verdicts: expected at least 1 slot, got 0");
  wrong = report, wrong.values.rows = 3;
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.values: expected 4 x 1, got 3 x 1");
  wrong = report, wrong.struct_size = 0;
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.struct_size: expected ");
  wrong = report, wrong.apply = given.begun.vector();
  FAIL_CALL(call(&counters, &wrong), DUET_STATUS_INVALID_ARGUMENT, "report.apply: expected dtype i32, got i64");
  CHECK((given.apply.at(0) == -1 && given.updates.at(0) == 0 && given.wide.at(0) == Decision::kOld &&
         given.verdicts.at(0) == -1));
  REQUIRE(given.decide(context, good) == DUET_STATUS_OK);
  CHECK(given.apply.at(0) == 1);
}

TEST_CASE("scales that are no scalars are refused by name") {
  Context context(1);
  Floats one = Floats(1, 1).fill(1), two = Floats(2, 1).fill(1), out(1, 1);
  FAIL_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = two.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "logarithm: expected 1 elements, got 2");
  FAIL_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = one.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = two.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "scale: expected 1 elements, got 2");
  FAIL_CALL(duet_step_scale_forward(context, sized<duet_step_scale_inputs>({.logarithm = one.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = one.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "scale: shares memory with inputs.logarithm");
  FAIL_CALL(duet_step_scale_forward(nullptr, sized<duet_step_scale_inputs>({.logarithm = one.vector()}),
                                    sized<duet_step_scale_outputs>({.scale = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "context: null");
  FAIL_CALL(duet_step_scale_backward(
                context, sized<duet_step_scale_inputs>({}),
                sized<duet_step_scale_gradients>({.grad_scale = one.vector(), .grad_logarithm = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "scale: expected 1 elements, got 0");
  FAIL_CALL(duet_step_scale_backward(
                context, sized<duet_step_scale_inputs>({}),
                sized<duet_step_scale_gradients>(
                    {.scale = one.vector(), .grad_scale = two.vector(), .grad_logarithm = out.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_scale: expected 1 elements");
  FAIL_CALL(duet_step_scale_backward(
                context, sized<duet_step_scale_inputs>({}),
                sized<duet_step_scale_gradients>(
                    {.scale = one.vector(), .grad_scale = one.vector(), .grad_logarithm = one.vector()})),
            DUET_STATUS_INVALID_ARGUMENT, "grad_logarithm: shares memory with");
}
