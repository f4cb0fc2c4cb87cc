// A step's mail and decision, as the tests give them.
#pragma once

#include <array>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/arrays.h"
#include "tests/support/faults.h"

namespace duet::test::step {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

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

}  // namespace duet::test::step
