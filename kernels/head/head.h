/* The classification head of modalities that share one classifier (METHOD.md 6.1). For every x of a list:
   u = x / max(|x|, eps) by rows, as unit_rows, and logits = output_scale (u weight^T + bias).
   Backward adds into grad_x the gradient by x of unit_rows for grad_u + output_scale grad_logits weight; it adds
   nothing where both are absent. It adds into grad_weight and grad_bias the sums over all modalities that have
   grad_logits, from the last to the first, as a tape runs backward. B = 0: nothing is written, gradients are unchanged.
   On the CPU the bits are those of unit_rows and linear one after another. On a CUDA device a small batch needs one
   launch a pass, whatever the number of modalities. Same inputs, same bits. Workspace: duet_head_workspace(), enough
   for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_HEAD_HEAD_H
#define DUET_HEAD_HEAD_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUET_HEAD_MODALITIES 4 /* the most of a call */

typedef struct duet_head_inputs {
  size_t struct_size;         /* set by DUET_HEAD_INPUTS_INIT */
  const duet_const_matrix* x; /* an array of count, B x d each, float32 */
  int64_t count;              /* modalities: 1 to DUET_HEAD_MODALITIES */
  duet_const_matrix weight;   /* C x d, float32 */
  duet_const_vector bias;     /* C, float32; null: 0 */
  float eps;                  /* above 0: the least norm that a row is divided by; 0: 1e-12 */
  float output_scale;         /* finite; METHOD.md 6.1 has 10; 0: 1 */
} duet_head_inputs;
#define DUET_HEAD_INPUTS_INIT DUET_INIT(duet_head_inputs, )
typedef struct duet_head_outputs {
  size_t struct_size;        /* set by DUET_HEAD_OUTPUTS_INIT */
  const duet_matrix* u;      /* an array of count, B x d each, float32 */
  const duet_matrix* logits; /* an array of count, B x C each, float32 */
} duet_head_outputs;
#define DUET_HEAD_OUTPUTS_INIT DUET_INIT(duet_head_outputs, )
typedef struct duet_head_gradients {
  size_t struct_size;                   /* set by DUET_HEAD_GRADIENTS_INIT */
  const duet_const_matrix* u;           /* an array of count, B x d each, float32, as forward wrote them */
  const duet_const_matrix* grad_u;      /* count, B x d each, float32: d loss / d u; null, or one null or empty: none */
  const duet_const_matrix* grad_logits; /* count, B x C each, float32: d loss / d logits; likewise */
  const duet_matrix* grad_x;            /* count, B x d each, float32: d loss / d x is added; null, or one null: not
                                           computed */
  duet_matrix grad_weight;              /* C x d, float32: d loss / d weight is added; may be null */
  duet_vector grad_bias;                /* C, float32: d loss / d bias is added; may be null */
} duet_head_gradients;
#define DUET_HEAD_GRADIENTS_INIT DUET_INIT(duet_head_gradients, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_head_workspace(const duet_context* context, const duet_head_inputs* inputs, size_t* bytes);
DUET_API duet_status duet_head_forward(duet_context* context, const duet_head_inputs* inputs,
                                       const duet_head_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_head_backward(duet_context* context, const duet_head_inputs* inputs,
                                        const duet_head_gradients* gradients, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
