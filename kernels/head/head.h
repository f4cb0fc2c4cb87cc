/* The classification head of modalities that share one classifier (METHOD.md 6.1). For every x of a list (B x d each):
   u = x / max(|x|, eps) by rows, as unit_rows, and logits = output_scale (u weight^T + bias). weight C x d, bias C (may
   be null), u B x d, logits B x C.
   Backward reads x, u and, for each modality, the gradient by u (grad_u, B x d) and by the logits (grad_logits, B x C).
   A null or empty gradient counts as absent, and so does a null array. Backward adds into grad_x (B x d) the gradient
   by x of unit_rows for grad_u + output_scale grad_logits weight; it adds nothing where both are absent. It adds into
   grad_weight (C x d) and grad_bias (C) the sums over all modalities that have grad_logits, from the last to the first,
   as a tape runs backward. A null output is not computed; for grad_x that is one of the array or the whole array. B =
   0: nothing is written, gradients are unchanged.
   On the CPU the bits are those of unit_rows and linear one after another. On a CUDA device a small batch needs one
   launch a pass, whatever the number of modalities. Same inputs, same bits. Workspace: duet_head_workspace(), which
   reads shapes only, enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_HEAD_HEAD_H
#define DUET_HEAD_HEAD_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DUET_HEAD_MODALITIES 4
typedef struct duet_head_inputs {
  size_t struct_size;
  const duet_matrix* x; /* count matrices of one shape */
  int64_t count;        /* modalities: 1 to DUET_HEAD_MODALITIES */
  duet_matrix weight;
  duet_vector bias;
  float eps;          /* above 0 */
  float output_scale; /* finite and not 0; METHOD.md 6.1 has 10 */
} duet_head_inputs;
#define DUET_HEAD_INPUTS_INIT \
  { sizeof(duet_head_inputs), 0, 0, {0}, {0}, 1e-12f, 1.0f }

/* u, logits, grad_u, grad_logits, grad_x: arrays of count matrices. */
DUET_API duet_status duet_head_workspace(const duet_context* context, const duet_head_inputs* inputs, size_t* bytes);
DUET_API duet_status duet_head_forward(duet_context* context, const duet_head_inputs* inputs, const duet_matrix* u,
                                       const duet_matrix* logits, duet_workspace workspace);
DUET_API duet_status duet_head_backward(duet_context* context, const duet_head_inputs* inputs, const duet_matrix* u,
                                        const duet_matrix* grad_u, const duet_matrix* grad_logits,
                                        const duet_matrix* grad_x, duet_matrix grad_weight, duet_vector grad_bias,
                                        duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
