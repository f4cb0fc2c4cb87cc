/* Dense layer: outputs = output_scale (x weight^T + bias). x B x in, weight out x in, bias out (may be null), outputs B
   x out.
   With relu: outputs = dropout(relu(output_scale (x weight^T + bias))), METHOD.md 6.1. The formulas and random words
     are those of activation.h, and the bits are those of the separate calls. dropout needs relu. drop_probability 0
     means no dropout; the other fields of dropout are then not read.
   Backward adds into grad_x (B x in), grad_weight (out x in) and grad_bias (out); a null gradient is not computed. With
   relu, backward reads the outputs of the forward pass and draws nothing; without relu, outputs may be an empty view.
   The gradient before relu and dropout is grad_outputs / (1 - drop_probability) where outputs > 0, NaN where they are
   NaN, else 0 (also where a NaN was dropped). Same inputs, same bits. B = 0: nothing is written, gradients are
   unchanged.
   Workspace: duet_linear_workspace(), enough for either pass. Errors: DUET_STATUS_INVALID_ARGUMENT,
   DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_LINEAR_LINEAR_H
#define DUET_LINEAR_LINEAR_H

#include "../activation/activation.h"
#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_linear_inputs {
  size_t struct_size;
  duet_matrix x, weight;
  duet_vector bias;
  float output_scale; /* 1 by _INIT; METHOD.md 6.1 scales the classifier's logits by 10 */
  int32_t relu;
  duet_dropout_options dropout;
} duet_linear_inputs;
#define DUET_LINEAR_INPUTS_INIT \
  { sizeof(duet_linear_inputs), {0}, {0}, {0}, 1.0f, 0, DUET_DROPOUT_OPTIONS_INIT }

DUET_API duet_status duet_linear_workspace(const duet_context* context, const duet_linear_inputs* inputs,
                                           size_t* bytes);
DUET_API duet_status duet_linear_forward(duet_context* context, const duet_linear_inputs* inputs, duet_matrix outputs,
                                         duet_workspace workspace);
DUET_API duet_status duet_linear_backward(duet_context* context, const duet_linear_inputs* inputs, duet_matrix outputs,
                                          duet_matrix grad_outputs, duet_matrix grad_x, duet_matrix grad_weight,
                                          duet_vector grad_bias, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
