/* Cross-entropy of logits against a class distribution (METHOD.md 6.7): row_loss[i] = -sum_c q_ic log softmax(z_i)_c,
   in nats.
   logits B x C, targets B x C; a row of targets that is 0 gives loss 0 and gradient 0. row_weight B is the upstream
   weight of each row's loss. Backward adds row_weight_i (softmax(z_i) sum_c q_ic - q_i) into grad_logits (B x C). A row
   of weight 0 adds nothing, whatever the row holds. A row with a NaN, or whose largest logit is not finite, has loss
   and gradient NaN, whatever its targets are. No workspace. Same inputs, same bits.
   ..._all: the same for several logits against one target, in one launch on a CUDA device. The arrays hold count views,
     1 to DUET_CROSS_ENTROPY_LOGITS. Errors: DUET_STATUS_INVALID_ARGUMENT. */
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
