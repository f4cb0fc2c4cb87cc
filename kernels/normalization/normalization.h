/* Row normalizations of x (B x d). unit_rows: y = x / max(|x|, eps) (METHOD.md 1 and 6.1). For a row shorter than eps
   the gradient is that of the scaling by 1/eps.
   layer_norm: y = gain (x - mean) / sqrt(variance + eps) + offset over each row, with the biased variance.
   With fuses: y = dropout(activation(layer norm)). The formulas and random words are those of activation.h, and the
     bits are those of the separate calls.
   Backward reads x again and adds into grad_x, grad_gain and grad_offset; a null gradient is not computed. Same inputs,
   same bits.
   Workspace: duet_layer_norm_workspace(), of layer_norm's backward pass; the other calls need none. Errors:
   DUET_STATUS_INVALID_ARGUMENT (also eps below 0), DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_NORMALIZATION_NORMALIZATION_H
#define DUET_NORMALIZATION_NORMALIZATION_H

#include "../activation/activation.h"
#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_unit_rows_inputs {
  size_t struct_size;  /* set by DUET_UNIT_ROWS_INPUTS_INIT */
  duet_const_matrix x; /* B x d, float32 */
  float eps;           /* above 0: the least norm that a row is divided by; 0: 1e-12 */
  int32_t reserved;    /* 0 */
} duet_unit_rows_inputs;
#define DUET_UNIT_ROWS_INPUTS_INIT DUET_INIT(duet_unit_rows_inputs, )
typedef struct duet_unit_rows_outputs {
  size_t struct_size;  /* set by DUET_UNIT_ROWS_OUTPUTS_INIT */
  duet_matrix outputs; /* B x d, float32: y */
} duet_unit_rows_outputs;
#define DUET_UNIT_ROWS_OUTPUTS_INIT DUET_INIT(duet_unit_rows_outputs, )
typedef struct duet_unit_rows_gradients {
  size_t struct_size;             /* set by DUET_UNIT_ROWS_GRADIENTS_INIT */
  duet_const_matrix grad_outputs; /* B x d, float32: d loss / d y */
  duet_matrix grad_x;             /* B x d, float32: d loss / d x is added */
} duet_unit_rows_gradients;
#define DUET_UNIT_ROWS_GRADIENTS_INIT DUET_INIT(duet_unit_rows_gradients, )

typedef struct duet_layer_norm_inputs {
  size_t struct_size;                  /* set by DUET_LAYER_NORM_INPUTS_INIT */
  duet_const_matrix x;                 /* B x d, float32 */
  duet_const_vector gain;              /* d, float32; null: 1 */
  duet_const_vector offset;            /* d, float32; null: 0 */
  const duet_dropout_options* dropout; /* after the activation; null, or of probability 0: none */
  float eps;                           /* above 0, added to a row's variance; 0: 1e-5 */
  duet_activation_kind activation;     /* where it fuses */
  int32_t fuses;                       /* not 0: activation and dropout follow; 0: neither is read */
  int32_t reserved;                    /* 0 */
} duet_layer_norm_inputs;
#define DUET_LAYER_NORM_INPUTS_INIT DUET_INIT(duet_layer_norm_inputs, )
typedef struct duet_layer_norm_outputs {
  size_t struct_size;  /* set by DUET_LAYER_NORM_OUTPUTS_INIT */
  duet_matrix outputs; /* B x d, float32: y */
} duet_layer_norm_outputs;
#define DUET_LAYER_NORM_OUTPUTS_INIT DUET_INIT(duet_layer_norm_outputs, )
typedef struct duet_layer_norm_gradients {
  size_t struct_size;             /* set by DUET_LAYER_NORM_GRADIENTS_INIT */
  duet_const_matrix grad_outputs; /* B x d, float32: d loss / d y */
  duet_matrix grad_x;             /* B x d, float32: d loss / d x is added; may be null */
  duet_vector grad_gain;          /* d, float32: d loss / d gain is added; may be null */
  duet_vector grad_offset;        /* d, float32: d loss / d offset is added; may be null */
} duet_layer_norm_gradients;
#define DUET_LAYER_NORM_GRADIENTS_INIT DUET_INIT(duet_layer_norm_gradients, )

DUET_API duet_status duet_unit_rows_forward(duet_context* context, const duet_unit_rows_inputs* inputs,
                                            const duet_unit_rows_outputs* outputs);
DUET_API duet_status duet_unit_rows_backward(duet_context* context, const duet_unit_rows_inputs* inputs,
                                             const duet_unit_rows_gradients* gradients);
/* bytes: what the workspace of every call here that takes these inputs must hold. */
DUET_API duet_status duet_layer_norm_workspace(const duet_context* context, const duet_layer_norm_inputs* inputs,
                                               size_t* bytes);
DUET_API duet_status duet_layer_norm_forward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                             const duet_layer_norm_outputs* outputs);
DUET_API duet_status duet_layer_norm_backward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                              const duet_layer_norm_gradients* gradients, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
