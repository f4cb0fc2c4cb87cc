/* Cross-modal decorrelation (METHOD.md 6.8): loss[0] = sum_{k != l} R_kl^2 / (d (d - 1)). R is the cross-correlation,
   divided by n, of the standardised columns of a and v. The variance is the biased one, with eps inside the root. The
   loss is 0 if d = 1 or n = 0. Backward adds grad_loss dL/da into grad_a and grad_loss dL/dv into grad_v; a null
   gradient is not computed. Memory O(d^2 + n d). Same inputs, same bits. Workspace: duet_decorrelation_workspace(),
   enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT, DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_DECORRELATION_DECORRELATION_H
#define DUET_DECORRELATION_DECORRELATION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_decorrelation_inputs {
  size_t struct_size;  /* set by DUET_DECORRELATION_INPUTS_INIT */
  duet_const_matrix a; /* n x d, features (view.h): the first of each pair */
  duet_const_matrix v; /* n x d, features: the second */
  float eps;           /* above 0, added to a column's variance; 0: 1e-5 */
  int32_t reserved;    /* 0 */
} duet_decorrelation_inputs;
#define DUET_DECORRELATION_INPUTS_INIT DUET_INIT(duet_decorrelation_inputs, )
typedef struct duet_decorrelation_outputs {
  size_t struct_size; /* set by DUET_DECORRELATION_OUTPUTS_INIT */
  duet_vector loss;   /* 1, float32 */
} duet_decorrelation_outputs;
#define DUET_DECORRELATION_OUTPUTS_INIT DUET_INIT(duet_decorrelation_outputs, )
typedef struct duet_decorrelation_gradients {
  size_t struct_size;          /* set by DUET_DECORRELATION_GRADIENTS_INIT */
  duet_const_vector grad_loss; /* 1, float32: the upstream gradient */
  duet_matrix grad_a;          /* n x d, float32: added to; may be null */
  duet_matrix grad_v;          /* n x d, float32: added to; may be null */
} duet_decorrelation_gradients;
#define DUET_DECORRELATION_GRADIENTS_INIT DUET_INIT(duet_decorrelation_gradients, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_decorrelation_workspace(const duet_context* context, const duet_decorrelation_inputs* inputs,
                                                  size_t* bytes);
DUET_API duet_status duet_decorrelation_forward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                                const duet_decorrelation_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_decorrelation_backward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                                 const duet_decorrelation_gradients* gradients,
                                                 duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
