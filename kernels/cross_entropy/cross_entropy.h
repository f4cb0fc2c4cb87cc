/* Cross-entropy of logits against a class distribution (METHOD.md 6.7): row_loss[i] = -sum_c q_ic log softmax(z_i)_c,
   in nats. A row of targets that is 0 gives loss 0 and gradient 0. Backward adds
   row_weight_i (softmax(z_i) sum_c q_ic - q_i) into grad_logits. A row of weight 0 adds nothing, whatever the row
   holds. A row with a NaN, or whose largest logit is not finite, has loss and gradient NaN, whatever its targets are.
   No workspace. Same inputs, same bits.
   ..._all: the same for several logits against one target, in one launch on a CUDA device. Errors:
   DUET_STATUS_INVALID_ARGUMENT. */
#ifndef DUET_CROSS_ENTROPY_CROSS_ENTROPY_H
#define DUET_CROSS_ENTROPY_CROSS_ENTROPY_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUET_CROSS_ENTROPY_LOGITS 4 /* the most of a call of ..._all */

typedef struct duet_cross_entropy_inputs {
  size_t struct_size;        /* set by DUET_CROSS_ENTROPY_INPUTS_INIT */
  duet_const_matrix logits;  /* B x C, float32: z */
  duet_const_matrix targets; /* B x C, float32: q */
} duet_cross_entropy_inputs;
#define DUET_CROSS_ENTROPY_INPUTS_INIT DUET_INIT(duet_cross_entropy_inputs, )
typedef struct duet_cross_entropy_outputs {
  size_t struct_size;   /* set by DUET_CROSS_ENTROPY_OUTPUTS_INIT */
  duet_vector row_loss; /* B, float32 [nats] */
} duet_cross_entropy_outputs;
#define DUET_CROSS_ENTROPY_OUTPUTS_INIT DUET_INIT(duet_cross_entropy_outputs, )
typedef struct duet_cross_entropy_gradients {
  size_t struct_size;           /* set by DUET_CROSS_ENTROPY_GRADIENTS_INIT */
  duet_const_vector row_weight; /* B, float32: d loss / d row_loss; of 0 nothing is added, whatever the row holds */
  duet_matrix grad_logits;      /* B x C, float32: d loss / d logits is added */
} duet_cross_entropy_gradients;
#define DUET_CROSS_ENTROPY_GRADIENTS_INIT DUET_INIT(duet_cross_entropy_gradients, )

typedef struct duet_cross_entropy_all_inputs {
  size_t struct_size;              /* set by DUET_CROSS_ENTROPY_ALL_INPUTS_INIT */
  const duet_const_matrix* logits; /* an array of count, B x C each, float32 */
  int64_t count;                   /* 1 to DUET_CROSS_ENTROPY_LOGITS */
  duet_const_matrix targets;       /* B x C, float32: of all of them */
} duet_cross_entropy_all_inputs;
#define DUET_CROSS_ENTROPY_ALL_INPUTS_INIT DUET_INIT(duet_cross_entropy_all_inputs, )
typedef struct duet_cross_entropy_all_outputs {
  size_t struct_size;          /* set by DUET_CROSS_ENTROPY_ALL_OUTPUTS_INIT */
  const duet_vector* row_loss; /* an array of count, B each, float32 [nats] */
} duet_cross_entropy_all_outputs;
#define DUET_CROSS_ENTROPY_ALL_OUTPUTS_INIT DUET_INIT(duet_cross_entropy_all_outputs, )
typedef struct duet_cross_entropy_all_gradients {
  size_t struct_size;                  /* set by DUET_CROSS_ENTROPY_ALL_GRADIENTS_INIT */
  const duet_const_vector* row_weight; /* an array of count, B each, float32: d loss / d row_loss */
  const duet_matrix* grad_logits;      /* an array of count, B x C each, float32: d loss / d logits is added */
} duet_cross_entropy_all_gradients;
#define DUET_CROSS_ENTROPY_ALL_GRADIENTS_INIT DUET_INIT(duet_cross_entropy_all_gradients, )

DUET_API duet_status duet_cross_entropy_forward(duet_context* context, const duet_cross_entropy_inputs* inputs,
                                                const duet_cross_entropy_outputs* outputs);
DUET_API duet_status duet_cross_entropy_backward(duet_context* context, const duet_cross_entropy_inputs* inputs,
                                                 const duet_cross_entropy_gradients* gradients);
/* The forward pass of several logits. */
DUET_API duet_status duet_cross_entropy_forward_all(duet_context* context, const duet_cross_entropy_all_inputs* inputs,
                                                    const duet_cross_entropy_all_outputs* outputs);
/* The backward pass of several logits. */
DUET_API duet_status duet_cross_entropy_backward_all(duet_context* context, const duet_cross_entropy_all_inputs* inputs,
                                                     const duet_cross_entropy_all_gradients* gradients);

#ifdef __cplusplus
}
#endif
#endif
