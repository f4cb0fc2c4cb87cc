/* Contrastive losses over all pairs, streamed (METHOD.md 5). inputs: a n x d, v m x d, scale 1 (1/temperature).
   infonce: row_loss[i] = lse_i - s_ii, the cross-entropy of row i against its own pair (equal global indices; a row
     whose pair is not among the columns has no target: loss and gradient 0); column_loss[j] likewise.
   multi_positive: the same against What_ij = pos_ij / sum_j pos_ij of METHOD.md 2, from class_a n x C, class_v m x C,
   trust_a n, trust_v m, paired.
   sigmoid: row_loss[i] = sum_j [W_ij softplus(-x_ij) + (1 - W_ij) softplus(x_ij)], x = scale a.v + bias (1); W the
     identity (class_* null) or W = q_i.q_j. Divide by n. It has no column terms: column_loss, column_weight and the
     statistics are not touched and may be null.
   decoupled, circle, ntxent: losses on a relation of pairs, rows and columns (METHOD.md 5.6 to 5.8). A pair is positive
     where it is the own pair (equal global indices), where its row and column are of one group (group_a n, group_v m,
     int32; below 0: of none), or where both are labelled alike (labels_a n, labels_v m, int32; below 0: unlabelled).
     A pair that is not positive is negative, but with labels only where its row and column are both labelled. With
     exclude_own (not 0) the own pair is neither. What is neither takes no part. labels_a and labels_v null: no labels;
     group_a and group_v null: no groups. A row without positives or without negatives has loss and gradient 0.
     margin: circle's, at least 0 and finite, 0: 0.25.
   What a kind does not read is null (0), else the call is refused: classes with infonce, trust without multi_positive,
   bias and grad_bias without sigmoid, classes with decoupled, circle and ntxent, labels, groups and exclude_own without
   them, margin without circle.
   row_statistics n x DUET_CONTRASTIVE_STATISTICS: lse, N (infonce: N is 1 where the row has a target, else 0), and the
     log-odds of the own pair where the batch is paired, s_ii minus the log-sum-exp of the other scores (-inf where it
     is not among the columns, inf where nothing else is); column_statistics m x DUET_CONTRASTIVE_STATISTICS likewise;
     backward reads them. decoupled, circle, ntxent: what backward needs of the row, 0 where it needs less.
   Backward takes the upstream weight of each row (n) and column (m), null: 0, and adds into grad_a, grad_v, grad_scale
   (1), grad_bias (1, sigmoid alone); null: not computed. Same inputs, same bits. n = 0 or m = 0: losses 0. trust null:
   1. Never n x m memory.
   grad_factor_a, grad_factor_v (1 each, null: 1) multiply what backward adds into grad_a and into grad_v, and nothing
     else: no loss, statistic, grad_scale, grad_bias. 0 stops a side's gradient: nothing is added there, whatever the
     rows hold. So one pass gives the gradient of factor_a L(A, stop V) + factor_v L(stop A, V). Any number is taken;
     NaN shows in the side's gradient.
   Workspace: duet_contrastive_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_CONTRASTIVE_CONTRASTIVE_H
#define DUET_CONTRASTIVE_CONTRASTIVE_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum duet_contrastive_kind {
  DUET_CONTRASTIVE_KIND_INFONCE = 0,
  DUET_CONTRASTIVE_KIND_MULTI_POSITIVE = 1,
  DUET_CONTRASTIVE_KIND_SIGMOID = 2,
  DUET_CONTRASTIVE_KIND_DECOUPLED = 3,
  DUET_CONTRASTIVE_KIND_CIRCLE = 4,
  DUET_CONTRASTIVE_KIND_NTXENT = 5
} duet_contrastive_kind;

enum { DUET_CONTRASTIVE_STATISTICS = 3 };

typedef struct duet_contrastive_inputs {
  size_t struct_size;
  duet_contrastive_kind kind;
  duet_matrix a, v;
  duet_matrix class_a, class_v;
  duet_vector trust_a, trust_v;
  duet_vector scale, bias;
  int32_t paired; /* multi_positive alone: the own pair counts as a positive whatever its trust */
  int64_t first_row, first_column;
  duet_vector grad_factor_a, grad_factor_v; /* backward alone */
  duet_vector labels_a, labels_v;           /* n, m, int32 */
  duet_vector group_a, group_v;             /* n, m, int32 */
  int32_t exclude_own;
  float margin;
} duet_contrastive_inputs;
#define DUET_CONTRASTIVE_INPUTS_INIT \
  { sizeof(duet_contrastive_inputs) }

DUET_API duet_status duet_contrastive_workspace(const duet_context* context, const duet_contrastive_inputs* inputs,
                                                size_t* bytes);
DUET_API duet_status duet_contrastive_forward(duet_context* context, const duet_contrastive_inputs* inputs,
                                              duet_vector row_loss, duet_vector column_loss, duet_matrix row_statistics,
                                              duet_matrix column_statistics, duet_workspace workspace);
DUET_API duet_status duet_contrastive_backward(duet_context* context, const duet_contrastive_inputs* inputs,
                                               duet_matrix row_statistics, duet_matrix column_statistics,
                                               duet_vector row_weight, duet_vector column_weight, duet_matrix grad_a,
                                               duet_matrix grad_v, duet_vector grad_scale, duet_vector grad_bias,
                                               duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
