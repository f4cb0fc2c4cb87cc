/* Alignment (METHOD.md 4): scores s_ij = scale a_i.v_j, or -scale dist(a_i, v_j), and their log-sum-exps over rows and
   over columns in one sweep.
   inputs: a n x d, v m x d, scale 1 (1/temperature); score DUET_METRIC_INNER by DUET_ALIGNMENT_INPUTS_INIT.
   lse_row n, lse_column m (either may be null) [nats]; an empty sum is -inf. Parts of a batch merge by log-add-exp.
   probabilities (n x m): P_ij = exp(s_ij - lse_row_i), the one call that stores a matrix.
   Backward takes d loss/d lse_row (n) and d loss/d lse_column (m), either null: 0, and lse_row, lse_column of the whole
   batch where their gradient is given; it adds into grad_a (n x d), grad_v (m x d), grad_scale (1); null: not computed.
   probabilities_backward takes P and d loss/dP (n x m) likewise. NaN in a row gives NaN in its sums. Same inputs, same
   bits.
   Workspace: duet_alignment_workspace(), enough for every call here. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_ALIGNMENT_ALIGNMENT_H
#define DUET_ALIGNMENT_ALIGNMENT_H

#include "../core/context.h"
#include "../core/view.h"
#include "../distance/distance.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_alignment_inputs {
  size_t struct_size;
  duet_metric score; /* DUET_METRIC_INNER: the inner product; a distance: minus it */
  duet_matrix a, v;
  duet_vector scale;
} duet_alignment_inputs;
#define DUET_ALIGNMENT_INPUTS_INIT \
  { sizeof(duet_alignment_inputs), DUET_METRIC_INNER }

DUET_API duet_status duet_alignment_workspace(const duet_context* context, const duet_alignment_inputs* inputs,
                                              size_t* bytes);
DUET_API duet_status duet_alignment_forward(duet_context* context, const duet_alignment_inputs* inputs,
                                            duet_vector lse_row, duet_vector lse_column, duet_workspace workspace);
DUET_API duet_status duet_alignment_backward(duet_context* context, const duet_alignment_inputs* inputs,
                                             duet_vector lse_row, duet_vector lse_column, duet_vector grad_lse_row,
                                             duet_vector grad_lse_column, duet_matrix grad_a, duet_matrix grad_v,
                                             duet_vector grad_scale, duet_workspace workspace);
DUET_API duet_status duet_alignment_probabilities(duet_context* context, const duet_alignment_inputs* inputs,
                                                  duet_vector lse_row, duet_matrix probabilities,
                                                  duet_workspace workspace);
DUET_API duet_status duet_alignment_probabilities_backward(duet_context* context, const duet_alignment_inputs* inputs,
                                                           duet_matrix probabilities, duet_matrix grad_probabilities,
                                                           duet_matrix grad_a, duet_matrix grad_v,
                                                           duet_vector grad_scale, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
