/* KL distillation of the student's alignment towards the teacher's and towards the agreement of labels, both
   directions, streamed (METHOD.md 5), in nats:
     row_loss[i] = (1 - kappa_a[i]) KL(P'_i || P_i) + kappa_a[i] KL(What_i || P_i), column_loss[j] likewise
   inputs: student_a, teacher_a n x d (the teacher's d may differ); student_v, teacher_v m x d; class_a n x C, class_v m
     x C; trust_a, kappa_a n; trust_v, kappa_v m; scale, teacher_scale 1 (1/temperature). class_* may be null where
     every kappa is 0: then trust_* and kappa_* are null too, else the call is refused. trust null: 1; kappa null: 0.
   row_statistics n x DUET_DISTILLATION_STATISTICS: lse_s, lse_t, N = sum_j pos_ij, and where the batch is paired the
     log-odds of the own pair by student and teacher, s_ii minus the log-sum-exp of the other scores (-inf where it is
     not among the columns, inf where nothing else is);
     column_statistics m x DUET_DISTILLATION_STATISTICS likewise: backward reads them, so it costs 4 products, not 6.
   Backward takes the upstream weight of each row (n) and column (m), null: 0, and adds into grad_a (n x d), grad_v (m x
   d), grad_scale (1);
   null: not computed. Nothing flows into teacher, classes, trust or kappa. Finite for temperatures down to 1e-3.
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

enum { DUET_DISTILLATION_STATISTICS = 5 };

typedef struct duet_distillation_inputs {
  size_t struct_size;
  duet_matrix student_a, student_v, teacher_a, teacher_v;
  duet_matrix class_a, class_v;
  duet_vector trust_a, trust_v, kappa_a, kappa_v;
  duet_vector scale, teacher_scale;
  int32_t paired;
  int64_t first_row, first_column;
} duet_distillation_inputs;
#define DUET_DISTILLATION_INPUTS_INIT \
  { sizeof(duet_distillation_inputs) }

DUET_API duet_status duet_distillation_workspace(const duet_context* context, const duet_distillation_inputs* inputs,
                                                 size_t* bytes);
DUET_API duet_status duet_distillation_forward(duet_context* context, const duet_distillation_inputs* inputs,
                                               duet_vector row_loss, duet_vector column_loss,
                                               duet_matrix row_statistics, duet_matrix column_statistics,
                                               duet_workspace workspace);
DUET_API duet_status duet_distillation_backward(duet_context* context, const duet_distillation_inputs* inputs,
                                                duet_matrix row_statistics, duet_matrix column_statistics,
                                                duet_vector row_weight, duet_vector column_weight, duet_matrix grad_a,
                                                duet_matrix grad_v, duet_vector grad_scale, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
