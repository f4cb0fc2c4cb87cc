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
   Parts of a batch: forward with row_sums or column_sums in the place of that side's loss and statistics writes what
     the pairs of this call add to the sums of each row or column; duet_distillation_merge() adds the sums of two parts,
     duet_distillation_close() makes losses and statistics of sums to which all parts were added. Of the CPU alone.
     Whether the bits are those of one call on the whole batch is as contrastive.h says, of student and teacher rows.
   Sums of a row or a column, float64: of the other pairs the student's log-sum-exp reference + log sum in these two
     numbers, then the teacher's in reference, sum and cross = sum of e^(t - reference) (t - s); of the own pair the
     student's score, the teacher's, and 1 where it is there, else 0; the number of other pairs; N without the own pair,
     and the sum of pos (log pos - s) over the other positives.
   Backward adds into grad_a, grad_v, grad_scale; null: not computed. Nothing flows into teacher, classes, trust or
   kappa. Finite for temperatures down to 1e-3.
   Same inputs, same bits. n = 0 or m = 0: losses 0. Extra memory: O(log n) tile blocks and O(n + m), on CUDA
   O((n + m) d) for packed operands; never n x m.
   Workspace: duet_distillation_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL, of sums DUET_STATUS_UNSUPPORTED. */
#ifndef DUET_DISTILLATION_DISTILLATION_H
#define DUET_DISTILLATION_DISTILLATION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DUET_DISTILLATION_STATISTICS = 5 }; /* of a row or a column */
enum { DUET_DISTILLATION_SUMS = 11 };      /* of a row or a column */

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
  duet_matrix row_sums;          /* n x DUET_DISTILLATION_SUMS, float64: where row_loss and row_statistics are null */
  duet_matrix column_sums;       /* m x DUET_DISTILLATION_SUMS, float64: likewise of columns; a side by itself */
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
typedef struct duet_distillation_merge_inputs {
  size_t struct_size;      /* set by DUET_DISTILLATION_MERGE_INPUTS_INIT */
  duet_const_matrix left;  /* k x DUET_DISTILLATION_SUMS, float64: of the part that comes first in the batch */
  duet_const_matrix right; /* k x DUET_DISTILLATION_SUMS, float64: of another part, of the same rows or columns */
} duet_distillation_merge_inputs;
#define DUET_DISTILLATION_MERGE_INPUTS_INIT DUET_INIT(duet_distillation_merge_inputs, )
typedef struct duet_distillation_merge_outputs {
  size_t struct_size; /* set by DUET_DISTILLATION_MERGE_OUTPUTS_INIT */
  duet_matrix sums;   /* k x DUET_DISTILLATION_SUMS, float64: of both parts; may be left itself */
} duet_distillation_merge_outputs;
#define DUET_DISTILLATION_MERGE_OUTPUTS_INIT DUET_INIT(duet_distillation_merge_outputs, )
typedef struct duet_distillation_close_inputs {
  size_t struct_size;      /* set by DUET_DISTILLATION_CLOSE_INPUTS_INIT */
  duet_const_matrix sums;  /* k x DUET_DISTILLATION_SUMS, float64: of rows or columns with all their pairs */
  duet_const_vector kappa; /* k, float32, as of the calls that wrote them: theirs of that side; null: 0 */
  int32_t agreement;       /* not 0: these had classes or groups */
  int32_t reserved;        /* 0 */
} duet_distillation_close_inputs;
#define DUET_DISTILLATION_CLOSE_INPUTS_INIT DUET_INIT(duet_distillation_close_inputs, )
typedef struct duet_distillation_close_outputs {
  size_t struct_size;     /* set by DUET_DISTILLATION_CLOSE_OUTPUTS_INIT */
  duet_vector loss;       /* k, float32 [nats] */
  duet_matrix statistics; /* k x DUET_DISTILLATION_STATISTICS, float32 */
} duet_distillation_close_outputs;
#define DUET_DISTILLATION_CLOSE_OUTPUTS_INIT DUET_INIT(duet_distillation_close_outputs, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_distillation_workspace(const duet_context* context, const duet_distillation_inputs* inputs,
                                                 size_t* bytes);
DUET_API duet_status duet_distillation_forward(duet_context* context, const duet_distillation_inputs* inputs,
                                               const duet_distillation_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_distillation_backward(duet_context* context, const duet_distillation_inputs* inputs,
                                                const duet_distillation_gradients* gradients, duet_workspace workspace);
/* The CPU's alone: DUET_STATUS_UNSUPPORTED of another device's context. */
DUET_API duet_status duet_distillation_merge(duet_context* context, const duet_distillation_merge_inputs* inputs,
                                             const duet_distillation_merge_outputs* outputs);
/* The CPU's alone, as merge. */
DUET_API duet_status duet_distillation_close(duet_context* context, const duet_distillation_close_inputs* inputs,
                                             const duet_distillation_close_outputs* outputs);

#ifdef __cplusplus
}
#endif
#endif
