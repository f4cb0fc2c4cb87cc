// What each backend implements of a step's control, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/step/step.h"

namespace duet {

struct StepMail {
  Matrix<const float> values;
  Matrix<const int64_t> integers, indices;
  int64_t slots = 0;
};

struct StepTaken {
  Vector<float> values;
  Vector<int64_t> integers, indices;
};

struct StepDecision {
  struct Reason {
    const float *weight, *value;
    float more_than;
  };
  struct Move {
    float* to;
    const float* from;
    int64_t size;
  };
  struct Reported {
    const float* from;
    int64_t size;
  };
  const float* total = nullptr;
  Reason reasons[DUET_STEP_MOST_REASONS];
  Move moves[DUET_STEP_MOST_MOVES];
  Reported reported[DUET_STEP_MOST_REPORTED];
  int reason_count = 0, move_count = 0, reported_count = 0;
};

struct StepCounters {
  int64_t *begun, *updates, *failed;
};

struct StepReport {
  int32_t* apply;
  Matrix<int64_t> verdicts;
  Matrix<float> values;
  duet_fault* faults;
};

// What a step's decision depends on, for both backends.
struct StepFacts {
  bool failed_before, fault, reason, finite;
};
DUET_HOST_DEVICE inline duet_step_verdict verdict_of(const StepFacts& facts) {
  if (facts.failed_before) return DUET_STEP_VERDICT_AFTER;
  if (facts.fault) return DUET_STEP_VERDICT_FAULT;
  if (!facts.reason) return DUET_STEP_VERDICT_IDLE;
  return facts.finite ? DUET_STEP_VERDICT_CHANGES : DUET_STEP_VERDICT_NOT_FINITE;
}
DUET_HOST_DEVICE inline bool holds(const StepDecision::Reason& reason) {
  return (!reason.weight || *reason.weight > 0) && (!reason.value || *reason.value > reason.more_than);
}

// The slot of the step that has `before` steps before it. It is a valid slot whatever value the counter holds.
DUET_HOST_DEVICE inline int64_t slot_of(int64_t before, int64_t slots) { return before > 0 ? before % slots : 0; }

DUET_BACKEND_FUNCTION(void, step_begin, const duet_context& context, const StepMail& mail, int64_t* begun,
                      const StepTaken& taken)
DUET_BACKEND_FUNCTION(void, step_decide, const duet_context& context, const StepDecision& decision,
                      const StepCounters& counters, const StepReport& report)
DUET_BACKEND_FUNCTION(void, step_scale_forward, const duet_context& context, const float* logarithm, float* scale)
DUET_BACKEND_FUNCTION(void, step_scale_backward, const duet_context& context, const float* scale,
                      const float* grad_scale, float* grad_logarithm)

}  // namespace duet
