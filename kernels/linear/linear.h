/* Dense layer: outputs = output_scale (x weight^T + bias).
   With relu: outputs = dropout(relu(output_scale (x weight^T + bias))), METHOD.md 6.1. The formulas and random words
     are those of activation.h, and the bits are those of the separate calls.
   Backward adds into grad_x, grad_weight and grad_bias; a null gradient is not computed. With relu, backward reads the
   outputs of the forward pass and draws nothing. The gradient before relu and dropout is
   grad_outputs / (1 - drop_probability) where outputs > 0, NaN where they are NaN, else 0 (also where a NaN was
   dropped). Same inputs, same bits. B = 0: nothing is written, gradients are unchanged.
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
  size_t struct_size;                  /* set by DUET_LINEAR_INPUTS_INIT */
  duet_const_matrix x;                 /* B x in, float32 */
  duet_const_matrix weight;            /* out x in, float32 */
  duet_const_vector bias;              /* out, float32; null: 0 */
  const duet_dropout_options* dropout; /* with relu alone; null, or of probability 0: none */
  float output_scale;                  /* finite; METHOD.md 6.1 scales the classifier's logits by 10; 0: 1 */
  int32_t relu;                        /* not 0: relu, and dropout, follow */
} duet_linear_inputs;
#define DUET_LINEAR_INPUTS_INIT DUET_INIT(duet_linear_inputs, )
typedef struct duet_linear_outputs {
  size_t struct_size;  /* set by DUET_LINEAR_OUTPUTS_INIT */
  duet_matrix outputs; /* B x out, float32 */
} duet_linear_outputs;
#define DUET_LINEAR_OUTPUTS_INIT DUET_INIT(duet_linear_outputs, )
typedef struct duet_linear_gradients {
  size_t struct_size;             /* set by DUET_LINEAR_GRADIENTS_INIT */
  duet_const_matrix outputs;      /* B x out, float32, as forward wrote them; without relu not read, may be null */
  duet_const_matrix grad_outputs; /* B x out, float32: d loss / d outputs */
  duet_matrix grad_x;             /* B x in, float32: d loss / d x is added; may be null */
  duet_matrix grad_weight;        /* out x in, float32: d loss / d weight is added; may be null */
  duet_vector grad_bias;          /* out, float32: d loss / d bias is added; may be null */
} duet_linear_gradients;
#define DUET_LINEAR_GRADIENTS_INIT DUET_INIT(duet_linear_gradients, )

/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_linear_workspace(const duet_context* context, const duet_linear_inputs* inputs,
                                           size_t* bytes);
DUET_API duet_status duet_linear_forward(duet_context* context, const duet_linear_inputs* inputs,
                                         const duet_linear_outputs* outputs, duet_workspace workspace);
DUET_API duet_status duet_linear_backward(duet_context* context, const duet_linear_inputs* inputs,
                                          const duet_linear_gradients* gradients, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
