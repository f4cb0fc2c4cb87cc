#include <algorithm>
#include <cmath>

#include "kernels/step/step_backends.h"

namespace duet::cpu {

void step_begin(const duet_context&, const StepMail& mail, int64_t* begun, const StepTaken& taken) {
  const int64_t slot = slot_of(*begun, mail.slots);
  std::copy_n(mail.values.row(slot), taken.values.size, taken.values.data);
  std::copy_n(mail.integers.row(slot), taken.integers.size, taken.integers.data);
  std::copy_n(mail.indices.row(slot), taken.indices.size, taken.indices.data);
  ++*begun;
}

// A call on the CPU refuses a value out of range itself: there are no faults.
void step_decide(const duet_context&, const StepDecision& decision, const StepCounters& counters,
                 const StepReport& report) {
  const bool reason = std::any_of(decision.reasons, decision.reasons + decision.reason_count, holds);
  const duet_step_verdict verdict = verdict_of({*counters.failed != 0, false, reason, std::isfinite(*decision.total)});
  *report.apply = verdict == DUET_STEP_VERDICT_CHANGES;
  *counters.updates += *report.apply;
  if (verdict == DUET_STEP_VERDICT_NOT_FINITE) *counters.failed = *counters.begun;
  for (int k = 0; k < decision.move_count && *report.apply; ++k) {
    const StepDecision::Move& move = decision.moves[k];
    std::copy_n(move.from, move.size, move.to);
  }
  const int64_t slot = slot_of(*counters.begun - 1, report.verdicts.rows);
  float* to = report.values.row(slot);
  for (int k = 0; k < decision.reported_count; ++k) {
    const StepDecision::Reported& reported = decision.reported[k];
    to = std::copy_n(reported.from, reported.size, to);
  }
  if (report.faults) report.faults[slot] = {};
  *report.verdicts.row(slot) = verdict;
}

void step_scale_forward(const duet_context&, const float* logarithm, float* scale) {
  *scale = static_cast<float>(std::exp(double{*logarithm}));
}
void step_scale_backward(const duet_context&, const float* scale, const float* grad_scale, float* grad_logarithm) {
  *grad_logarithm += *grad_scale * *scale;
}

}  // namespace duet::cpu
