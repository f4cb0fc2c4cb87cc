/* KL distillation of the student's alignment towards the teacher's and towards the agreement of labels, both
   directions, streamed (METHOD.md 5), in nats:
     row_loss[i] = (1 - kappa_a[i]) KL(P'_i || P_i) + kappa_a[i] KL(What_i || P_i), column_loss[j] likewise
   An own pair (paired) and rows of one group, a number of 0 or more, have the agreement 1 whatever their trust. That of
   other pairs comes from their classes, and is 0 without classes; of two annotated rows it is 1 where they share a
   class and else 0, times the trust.
   trust_* and annotated_* are null without classes, kappa_* without classes and groups, else the call is refused.
   With exclude_own the own pair, of equal global indices, takes no part in any of the three distributions, and paired
   says nothing. A row of which nothing is left has loss and gradient 0, and log-sum-exps of -inf.
   A row's statistics: lse_s, lse_t, N = sum_j pos_ij, and where the batch is paired the log-odds of the own pair by
     student and teacher, s_ii minus the log-sum-exp of the other scores (-inf where it is not among the columns, inf
     where nothing else is; with exclude_own -inf); a column's likewise. Backward reads them, so it costs 4 products,
     not 6.
   Backward adds into grad_a, grad_v, grad_scale; null: not computed. Nothing flows into teacher, classes, trust or
   kappa. Finite for temperatures down to 1e-3.
   Same inputs, same bits. n = 0 or m = 0: losses 0. Extra memory: a constant number of tile blocks, on CUDA also
   O((n + m) d) for packed operands; never n x m.
   Workspace: duet_distillation_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_DISTILLATION_DISTILLATION_H
#define DUET_DISTILLATION_DISTILLATION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DUET_DISTILLATION_STATISTICS = 5 }; /* of a row or a column */

typedef struct duet_distillation_inputs {
  size_t struct_size;              /* set by DUET_DISTILLATION_INPUTS_INIT */
  duet_const_matrix student_a;     /* n x d, features: view.h */
  duet_const_matrix student_v;     /* m x d, features */
  duet_const_matrix teacher_a;     /* n x any, features */
  duet_const_matrix teacher_v;     /* m x the columns of teacher_a, features */
  duet_const_matrix class_a;       /* n x C, float32: class distributions; may be null */
  duet_const_matrix class_v;       /* m x C, float32; null where class_a is */
  duet_const_vector trust_a;       /* n, float32, 0 to 1; null: 1 */
  duet_const_vector trust_v;       /* m, float32, 0 to 1; null: 1 */
  duet_const_vector kappa_a;       /* n, float32, 0 to 1: the share of the labels' agreement; null: 0 */
  duet_const_vector kappa_v;       /* m, float32, 0 to 1; null: 0 */
  duet_const_vector group_a;       /* n, int32; below 0: of none; null: no groups */
  duet_const_vector group_v;       /* m, int32; null where group_a is */
  duet_const_vector scale;         /* 1, float32: the student's 1 / temperature */
  duet_const_vector teacher_scale; /* 1, float32: the teacher's */
  int64_t first_row;               /* global index of row 0 of student_a, 0 or more */
  int64_t first_column;            /* global index of row 0 of student_v, 0 or more */
  int32_t paired;                  /* not 0: rows of equal global index are a pair, a positive whatever its trust */
  int32_t exclude_own;             /* not 0: rows of equal global index take no part with each other */
  duet_const_vector annotated_a;   /* n, float32: not 0 where a row's classes are known; null: of no row */
  duet_const_vector annotated_v;   /* m, float32; null where annotated_a is */
} duet_distillation_inputs;
#define DUET_DISTILLATION_INPUTS_INIT DUET_INIT(duet_distillation_inputs, )
typedef struct duet_distillation_outputs {
  size_t struct_size;            /* set by DUET_DISTILLATION_OUTPUTS_INIT */
  duet_vector row_loss;          /* n, float32 [nats] */
  duet_vector column_loss;       /* m, float32 [nats] */
  duet_matrix row_statistics;    /* n x DUET_DISTILLATION_STATISTICS, float32 */
  duet_matrix column_statistics; /* m x DUET_DISTILLATION_STATISTICS, float32 */
} duet_distillation_outputs;
#define DUET_DISTILLATION_OUTPUTS_INIT DUET_INIT(duet_distillation_outputs, )
typedef struct duet_distillation_gradients {
  size_t struct_size;                  /* set by DUET_DISTILLATION_GRADIENTS_INIT */
  duet_const_matrix row_statistics;    /* n x DUET_DISTILLATION_STATISTICS, float32, as forward wrote it */
  duet_const_matrix column_statistics; /* m x DUET_DISTILLATION_STATISTICS, float32, as forward wrote it */
  duet_const_vector row_weight;        /* n, float32: d loss / d row_loss; null: 0 */
  duet_const_vector column_weight;     /* m, float32: d loss / d column_loss; null: 0 */
  duet_matrix grad_a;                  /* n x d, float32: d loss / d student_a is added; may be null */
  duet_matrix grad_v;                  /* m x d, float32: d loss / d student_v is added; may be null */
  duet_vector grad_scale;              /* 1, float32: d loss / d scale is added; may be null */
} duet_distillation_gradients;
#define DUET_DISTILLATION_GRADIENTS_INIT DUET_INIT(duet_distillation_gradients, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_distillation_workspace(const duet_context* context, const duet_distillation_inputs* inputs,
                                                 size_t* bytes);
DUET_API duet_status duet_distillation_forward(duet_context* context, const duet_distillation_inputs* inputs,
                                               const duet_distillation_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_distillation_backward(duet_context* context, const duet_distillation_inputs* inputs,
                                                const duet_distillation_gradients* gradients, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
