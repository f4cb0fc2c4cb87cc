/* The control of a training step on the device: it reads what the host has written for the step, decides whether the
   step changes anything, and writes the answer for the host. All of it is in the context's memory, so neither side
   waits for the other, and a step that was captured once can be replayed.
   Mail: rings of slots (rows of matrices) in memory that both sides can access (duet_pinned_allocate). The k-th step to
     begin, counted from 0, uses slot k mod slots. The host writes a slot before it starts the step, and reads the
     slot's answer when the step is done. begin copies the slot's numbers out and counts the step. decide determines
     whether the step may change anything; where it may, decide counts it and makes the moves; then it writes the
     answer. No workspace. Errors: DUET_STATUS_INVALID_ARGUMENT. */
#ifndef DUET_STEP_STEP_H
#define DUET_STEP_STEP_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_step_mail {
  size_t struct_size;
  duet_matrix values;   /* float32, slots x v */
  duet_matrix integers; /* int64, slots x i */
  duet_matrix indices;  /* int64, slots x the most rows of a batch */
} duet_step_mail;
#define DUET_STEP_MAIL_INIT \
  { sizeof(duet_step_mail) }

/* values (v), integers (i) and indices (at most as many as a slot holds) become those of the slot; begun (int64, 1)
   grows by one. */
DUET_API duet_status duet_step_begin(duet_context* context, const duet_step_mail* mail, duet_vector begun,
                                     duet_vector values, duet_vector integers, duet_vector indices);

/* A reason for a step to change something. It holds where weight (float32, 1; null: 1) is above 0 and value (float32,
   1; null: no condition) is above more_than. */
typedef struct duet_step_reason {
  duet_vector weight, value;
  float more_than;
} duet_step_reason;
/* Where the step changes something, `to` is overwritten with `from`. Both are float32 of one size. */
typedef struct duet_step_move {
  duet_vector to, from;
} duet_step_move;

typedef enum duet_step_verdict {
  DUET_STEP_VERDICT_CHANGES = 0,    /* total is finite, and there is a reason */
  DUET_STEP_VERDICT_IDLE = 1,       /* there is no reason */
  DUET_STEP_VERDICT_NOT_FINITE = 2, /* total is NaN or infinite, though there is a reason */
  DUET_STEP_VERDICT_FAULT = 3,      /* the context has recorded a value out of range (duet_context_options, faults) */
  DUET_STEP_VERDICT_AFTER = 4       /* an earlier step was one of the last two: from then on no step changes anything */
} duet_step_verdict;

enum { DUET_STEP_MOST_REASONS = 8, DUET_STEP_MOST_MOVES = 4, DUET_STEP_MOST_REPORTED = 24 };

typedef struct duet_step_decision {
  size_t struct_size;
  duet_vector total;               /* float32, 1 */
  const duet_step_reason* reasons; /* at most DUET_STEP_MOST_REASONS; one is enough */
  int64_t reason_count;
  const duet_step_move* moves; /* at most DUET_STEP_MOST_MOVES */
  int64_t move_count;
  const duet_vector* reported; /* float32 of any sizes, at most DUET_STEP_MOST_REPORTED; null ones report nothing */
  int64_t reported_count;
} duet_step_decision;
#define DUET_STEP_DECISION_INIT \
  { sizeof(duet_step_decision) }

/* Counters of a run, int64 of size 1 each, 0 at first: steps that have begun, updates made, and the number of the step
   that failed (from 1). */
typedef struct duet_step_counters {
  size_t struct_size;
  duet_vector begun, updates, failed;
} duet_step_counters;
#define DUET_STEP_COUNTERS_INIT \
  { sizeof(duet_step_counters) }

/* The answer of each slot. verdicts: int64, slots x 1, a duet_step_verdict. values: float32, slots x the sum of the
   reported sizes: the reported values one after another, read after the moves. faults: an array of slots, or null. */
typedef struct duet_step_report {
  size_t struct_size;
  duet_matrix verdicts, values;
  duet_fault* faults;
} duet_step_report;
#define DUET_STEP_REPORT_INIT \
  { sizeof(duet_step_report) }

/* Decides for the step that began last; before any has begun, the answer goes to slot 0. apply (int32, 1) becomes 1
   where the step changes something, else 0. */
DUET_API duet_status duet_step_decide(duet_context* context, const duet_step_decision* decision,
                                      const duet_step_counters* counters, duet_vector apply,
                                      const duet_step_report* report);

/* scale = exp(logarithm), computed in float64 (METHOD.md 4); backward adds grad_scale scale into grad_logarithm. All
   float32 of size 1. */
DUET_API duet_status duet_step_scale_forward(duet_context* context, duet_vector logarithm, duet_vector scale);
DUET_API duet_status duet_step_scale_backward(duet_context* context, duet_vector scale, duet_vector grad_scale,
                                              duet_vector grad_logarithm);

#ifdef __cplusplus
}
#endif
#endif
