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

/* What the host hands to a step: a row a slot. */
typedef struct duet_step_mail {
  size_t struct_size;         /* set by DUET_STEP_MAIL_INIT */
  duet_const_matrix values;   /* slots x v, float32 */
  duet_const_matrix integers; /* slots x i, int64 */
  duet_const_matrix indices;  /* slots x the most rows of a batch, int64 */
} duet_step_mail;
#define DUET_STEP_MAIL_INIT DUET_INIT(duet_step_mail, )
/* What becomes of the slot. */
typedef struct duet_step_begin_outputs {
  size_t struct_size;   /* set by DUET_STEP_BEGIN_OUTPUTS_INIT */
  duet_vector begun;    /* 1, int64: steps that have begun; grows by one */
  duet_vector values;   /* v, float32: the slot's */
  duet_vector integers; /* i, int64: the slot's */
  duet_vector indices;  /* at most as many as a slot holds, int64: the slot's first */
} duet_step_begin_outputs;
#define DUET_STEP_BEGIN_OUTPUTS_INIT DUET_INIT(duet_step_begin_outputs, )

/* A reason why a step has something to do: weight is above 0 and value above more_than. */
typedef struct duet_step_reason {
  duet_const_vector weight; /* 1, float32; null: 1 */
  duet_const_vector value;  /* 1, float32; null: it holds */
  float more_than;          /* in the unit of value */
  int32_t reserved;         /* 0 */
} duet_step_reason;
/* to becomes from where the step changes something. */
typedef struct duet_step_move {
  duet_vector to;         /* any size, float32 */
  duet_const_vector from; /* of the same size, float32 */
} duet_step_move;

/* What a step does. */
typedef enum duet_step_verdict {
  DUET_STEP_VERDICT_CHANGES = 0,    /* total is finite, and there is a reason */
  DUET_STEP_VERDICT_IDLE = 1,       /* there is no reason */
  DUET_STEP_VERDICT_NOT_FINITE = 2, /* total is NaN or infinite, though there is a reason */
  DUET_STEP_VERDICT_FAULT = 3,      /* the context has recorded a value out of range (duet_context_options, faults) */
  DUET_STEP_VERDICT_AFTER = 4       /* an earlier step was one of the last two: from then on no step changes anything */
} duet_step_verdict;

enum { DUET_STEP_MOST_REASONS = 8, DUET_STEP_MOST_MOVES = 4, DUET_STEP_MOST_REPORTED = 24 };

/* By what is decided. */
typedef struct duet_step_decision {
  size_t struct_size;                /* set by DUET_STEP_DECISION_INIT */
  duet_const_vector total;           /* 1, float32: the step's loss */
  const duet_step_reason* reasons;   /* an array of reason_count; one that holds is enough */
  int64_t reason_count;              /* at most DUET_STEP_MOST_REASONS */
  size_t reason_size;                /* of one; set by DUET_STEP_DECISION_INIT */
  const duet_step_move* moves;       /* an array of move_count */
  int64_t move_count;                /* at most DUET_STEP_MOST_MOVES */
  size_t move_size;                  /* of one; set by DUET_STEP_DECISION_INIT */
  const duet_const_vector* reported; /* an array of reported_count, of any sizes, float32; null ones report nothing */
  int64_t reported_count;            /* at most DUET_STEP_MOST_REPORTED */
} duet_step_decision;
#define DUET_STEP_DECISION_INIT \
  DUET_INIT(duet_step_decision, \
            DUET_SET(reason_size, sizeof(duet_step_reason)) DUET_SET(move_size, sizeof(duet_step_move)))

/* Counters of a run, 0 at first. */
typedef struct duet_step_counters {
  size_t struct_size;  /* set by DUET_STEP_COUNTERS_INIT */
  duet_vector begun;   /* 1, int64: steps that have begun */
  duet_vector updates; /* 1, int64: steps that changed something */
  duet_vector failed;  /* 1, int64: number of the step that failed, from 1; 0: none has */
} duet_step_counters;
#define DUET_STEP_COUNTERS_INIT DUET_INIT(duet_step_counters, )

/* The answer, in the step's slot. */
typedef struct duet_step_report {
  size_t struct_size;   /* set by DUET_STEP_REPORT_INIT */
  duet_vector apply;    /* 1, int32: 1 where the step changes something, else 0 */
  duet_matrix verdicts; /* slots x 1, int64: a duet_step_verdict */
  duet_matrix
      values; /* slots x the sum of the reported sizes, float32: one after another, as they are after the moves */
  duet_fault* faults; /* an array of slots, or null */
} duet_step_report;
#define DUET_STEP_REPORT_INIT DUET_INIT(duet_step_report, )

typedef struct duet_step_scale_inputs {
  size_t struct_size;          /* set by DUET_STEP_SCALE_INPUTS_INIT */
  duet_const_vector logarithm; /* 1, float32; backward does not read it, and it may be null there */
} duet_step_scale_inputs;
#define DUET_STEP_SCALE_INPUTS_INIT DUET_INIT(duet_step_scale_inputs, )
typedef struct duet_step_scale_outputs {
  size_t struct_size; /* set by DUET_STEP_SCALE_OUTPUTS_INIT */
  duet_vector scale;  /* 1, float32: exp(logarithm) */
} duet_step_scale_outputs;
#define DUET_STEP_SCALE_OUTPUTS_INIT DUET_INIT(duet_step_scale_outputs, )
typedef struct duet_step_scale_gradients {
  size_t struct_size;           /* set by DUET_STEP_SCALE_GRADIENTS_INIT */
  duet_const_vector scale;      /* 1, float32, as forward wrote it */
  duet_const_vector grad_scale; /* 1, float32: d loss / d scale */
  duet_vector grad_logarithm;   /* 1, float32: grad_scale scale is added */
} duet_step_scale_gradients;
#define DUET_STEP_SCALE_GRADIENTS_INIT DUET_INIT(duet_step_scale_gradients, )

/* Takes the next slot of the mail. */
DUET_API duet_status duet_step_begin(duet_context* context, const duet_step_mail* mail,
                                     const duet_step_begin_outputs* outputs);
/* Of the step that was the last to begin; before any has, it answers in slot 0. */
DUET_API duet_status duet_step_decide(duet_context* context, const duet_step_decision* decision,
                                      const duet_step_counters* counters, const duet_step_report* report);
/* scale = exp(logarithm), worked out in float64 (METHOD.md 4). */
DUET_API duet_status duet_step_scale_forward(duet_context* context, const duet_step_scale_inputs* inputs,
                                             const duet_step_scale_outputs* outputs);
DUET_API duet_status duet_step_scale_backward(duet_context* context, const duet_step_scale_inputs* inputs,
                                              const duet_step_scale_gradients* gradients);

#ifdef __cplusplus
}
#endif
#endif
