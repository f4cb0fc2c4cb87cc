/* Alignment (METHOD.md 4): scores s_ij = scale a_i.v_j, or -scale dist(a_i, v_j), and their log-sum-exps over rows and
   over columns in one sweep. An empty sum is -inf. Parts of a batch merge by log-add-exp.
   probabilities (n x m): P_ij = exp(s_ij - lse_row_i), the one call that stores a matrix.
   With exclude_own the own pair, of equal global indices, takes no part: it is in no sum, its P and its gradient are 0,
   and its d loss/dP is not read into anything. A row of which nothing is left has the sum -inf.
   Backward takes d loss/d lse_row and d loss/d lse_column, and lse_row, lse_column of the whole batch where their
   gradient is given. probabilities_backward takes P and d loss/dP likewise. Both add into grad_a, grad_v and
   grad_scale; null: not computed. NaN in a row gives NaN in its sums. Same inputs, same bits.
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
  size_t struct_size;      /* set by DUET_ALIGNMENT_INPUTS_INIT */
  duet_const_matrix a;     /* n x d, features: view.h */
  duet_const_matrix v;     /* m x d, features */
  duet_const_vector scale; /* 1, float32: 1 / temperature */
  int64_t first_row;       /* global index of row 0 of a, 0 or more; says nothing without exclude_own */
  int64_t first_column;    /* global index of row 0 of v, 0 or more */
  duet_metric score;       /* DUET_METRIC_INNER: the inner product; a distance: minus it */
  int32_t exclude_own;     /* not 0: rows of equal global index take no part with each other */
} duet_alignment_inputs;
#define DUET_ALIGNMENT_INPUTS_INIT DUET_INIT(duet_alignment_inputs, )
typedef struct duet_alignment_outputs {
  size_t struct_size;     /* set by DUET_ALIGNMENT_OUTPUTS_INIT */
  duet_vector lse_row;    /* n, float32 [nats]: log sum_j exp(s_ij); may be null */
  duet_vector lse_column; /* m, float32 [nats]: log sum_i exp(s_ij); may be null */
} duet_alignment_outputs;
#define DUET_ALIGNMENT_OUTPUTS_INIT DUET_INIT(duet_alignment_outputs, )
typedef struct duet_alignment_gradients {
  size_t struct_size;                /* set by DUET_ALIGNMENT_GRADIENTS_INIT */
  duet_const_vector lse_row;         /* n, float32 [nats], as forward wrote it; not read without grad_lse_row */
  duet_const_vector lse_column;      /* m, float32 [nats], as forward wrote it; not read without grad_lse_column */
  duet_const_vector grad_lse_row;    /* n, float32: d loss / d lse_row; null: 0 */
  duet_const_vector grad_lse_column; /* m, float32: d loss / d lse_column; null: 0 */
  duet_matrix grad_a;                /* n x d, float32: d loss / d a is added; may be null */
  duet_matrix grad_v;                /* m x d, float32: d loss / d v is added; may be null */
  duet_vector grad_scale;            /* 1, float32: d loss / d scale is added; may be null */
} duet_alignment_gradients;
#define DUET_ALIGNMENT_GRADIENTS_INIT DUET_INIT(duet_alignment_gradients, )
typedef struct duet_alignment_probabilities_outputs {
  size_t struct_size;        /* set by DUET_ALIGNMENT_PROBABILITIES_OUTPUTS_INIT */
  duet_const_vector lse_row; /* n, float32 [nats]: what duet_alignment_forward() wrote; it is read */
  duet_matrix probabilities; /* n x m, float32: P */
} duet_alignment_probabilities_outputs;
#define DUET_ALIGNMENT_PROBABILITIES_OUTPUTS_INIT DUET_INIT(duet_alignment_probabilities_outputs, )
typedef struct duet_alignment_probabilities_gradients {
  size_t struct_size;                   /* set by DUET_ALIGNMENT_PROBABILITIES_GRADIENTS_INIT */
  duet_const_matrix probabilities;      /* n x m, float32: P, as forward wrote it */
  duet_const_matrix grad_probabilities; /* n x m, float32: d loss / d P */
  duet_matrix grad_a;                   /* n x d, float32: d loss / d a is added; may be null */
  duet_matrix grad_v;                   /* m x d, float32: d loss / d v is added; may be null */
  duet_vector grad_scale;               /* 1, float32: d loss / d scale is added; may be null */
} duet_alignment_probabilities_gradients;
#define DUET_ALIGNMENT_PROBABILITIES_GRADIENTS_INIT DUET_INIT(duet_alignment_probabilities_gradients, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_alignment_workspace(const duet_context* context, const duet_alignment_inputs* inputs,
                                              size_t* bytes);
DUET_API duet_status duet_alignment_forward(duet_context* context, const duet_alignment_inputs* inputs,
                                            const duet_alignment_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_alignment_backward(duet_context* context, const duet_alignment_inputs* inputs,
                                             const duet_alignment_gradients* gradients, duet_workspace workspace);
/* Stores P, from the lse_row of the forward pass. */
DUET_API duet_status duet_alignment_probabilities(duet_context* context, const duet_alignment_inputs* inputs,
                                                  const duet_alignment_probabilities_outputs* outputs,
                                                  duet_workspace workspace);
DUET_API duet_status duet_alignment_probabilities_backward(duet_context* context, const duet_alignment_inputs* inputs,
                                                           const duet_alignment_probabilities_gradients* gradients,
                                                           duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
