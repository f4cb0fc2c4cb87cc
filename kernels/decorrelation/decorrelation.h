/* Cross-modal decorrelation (METHOD.md 6.8): loss[0] = sum_{k != l} R_kl^2 / (d (d - 1)). R is the cross-correlation,
   divided by n, of the standardised columns of a and v.
   a, v: n x d, a batch of pairs. The variance is the biased one, with eps inside the root. The loss is 0 if d = 1 or n
   = 0. Backward adds grad_loss (1) dL/da into grad_a and grad_loss dL/dv into grad_v; a null gradient is not computed.
   Memory O(d^2 + n d). Same inputs, same bits.
   Workspace: duet_decorrelation_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_DECORRELATION_DECORRELATION_H
#define DUET_DECORRELATION_DECORRELATION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_decorrelation_inputs {
  size_t struct_size;
  duet_matrix a, v;
  float eps;
} duet_decorrelation_inputs;
#define DUET_DECORRELATION_INPUTS_INIT \
  { sizeof(duet_decorrelation_inputs), {0}, {0}, 1e-5f }

DUET_API duet_status duet_decorrelation_workspace(const duet_context* context, const duet_decorrelation_inputs* inputs,
                                                  size_t* bytes);
DUET_API duet_status duet_decorrelation_forward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                                duet_vector loss, duet_workspace workspace);
DUET_API duet_status duet_decorrelation_backward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                                 duet_vector grad_loss, duet_matrix grad_a, duet_matrix grad_v,
                                                 duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
