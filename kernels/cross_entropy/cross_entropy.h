/* Cross-entropy of logits against a class distribution (METHOD.md 6.7): row_loss[i] = -sum_c q_ic log softmax(z_i)_c
   [nats].
   logits B x C, targets B x C (rows of 0 give loss 0 and gradient 0). Backward adds row_weight_i (softmax(z_i) sum_c
   q_ic - q_i) into grad_logits (B x C); row_weight B is the upstream weight of each row's loss, 0: nothing is added,
   whatever the row holds. A row with a NaN or without a finite largest logit has loss and gradient NaN, whatever its
   targets. No workspace. Same inputs, same bits.
   ..._all: the same of several logits against one target, one launch on a CUDA device; arrays of count views, 1 to
   DUET_CROSS_ENTROPY_LOGITS.
   Errors: DUET_STATUS_INVALID_ARGUMENT. */
#ifndef DUET_CROSS_ENTROPY_CROSS_ENTROPY_H
#define DUET_CROSS_ENTROPY_CROSS_ENTROPY_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

DUET_API duet_status duet_cross_entropy_forward(duet_context* context, duet_matrix logits, duet_matrix targets,
                                                duet_vector row_loss);
DUET_API duet_status duet_cross_entropy_backward(duet_context* context, duet_matrix logits, duet_matrix targets,
                                                 duet_vector row_weight, duet_matrix grad_logits);

#define DUET_CROSS_ENTROPY_LOGITS 4
DUET_API duet_status duet_cross_entropy_forward_all(duet_context* context, const duet_matrix* logits, int64_t count,
                                                    duet_matrix targets, const duet_vector* row_loss);
DUET_API duet_status duet_cross_entropy_backward_all(duet_context* context, const duet_matrix* logits, int64_t count,
                                                     duet_matrix targets, const duet_vector* row_weight,
                                                     const duet_matrix* grad_logits);

#ifdef __cplusplus
}
#endif
#endif
