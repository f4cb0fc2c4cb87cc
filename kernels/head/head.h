/* The classification head of modalities that share one classifier (METHOD.md 6.1). For every x of a list (B x d each):
   u = x / max(|x|, eps) by rows, as of unit_rows, and logits = output_scale (u weight^T + bias); weight C x d, bias C
   (may be null), u B x d, logits B x C.
   Backward reads x, u and, of each modality, what came back for u (grad_u, B x d) and for the logits (grad_logits, B x
   C); a null or empty one is none, so is a null array. It adds into grad_x (B x d) what unit_rows' backward makes of
   grad_u + output_scale grad_logits weight, nothing where both are null, and into grad_weight (C x d) and grad_bias (C)
   the sums over all modalities that have grad_logits, from the last one to the first, as a tape runs backward. Null (of
   grad_x: one of the array, or all of it): not computed. B = 0: nothing to write, gradients unchanged.
   On the CPU the same bits as unit_rows and linear one after another; on a CUDA device small batches take one launch a
   pass, whatever the number of modalities. Same inputs, same bits. Workspace: duet_head_workspace(), which reads
   shapes, enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_WORKSPACE_TOO_SMALL. */
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
