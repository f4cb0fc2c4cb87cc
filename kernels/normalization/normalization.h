/* Row normalizations of x (B x d). unit_rows: y = x / max(|x|, eps) (METHOD.md 1 and 6.1). For a row shorter than eps
   the gradient is that of the scaling by 1/eps.
   layer_norm: y = gain (x - mean) / sqrt(variance + eps) + offset over each row, with the biased variance. gain and
   offset have size d; null means 1 and 0.
   With fuses: y = dropout(activation(layer norm)). The formulas and random words are those of activation.h, and the
     bits are those of the separate calls.
   Backward reads x again and adds into grad_x (B x d), grad_gain and grad_offset (d); a null gradient is not computed.
   Same inputs, same bits.
   Workspace: duet_normalization_workspace(x), enough for every call here that fuses nothing;
   duet_layer_norm_workspace(), which reads shapes and whether the call fuses. Errors: DUET_STATUS_INVALID_ARGUMENT
   (also eps not above 0), DUET_STATUS_WORKSPACE_TOO_SMALL. */
#ifndef DUET_NORMALIZATION_NORMALIZATION_H
#define DUET_NORMALIZATION_NORMALIZATION_H

#include "../activation/activation.h"
#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_layer_norm_inputs {
  size_t struct_size;
  duet_matrix x;
  duet_vector gain, offset;
  float eps;
  duet_dropout_options dropout; /* after the activation; drop_probability 0: none, and its other fields are not read */
  duet_activation_kind activation;
  int32_t fuses; /* whether activation and dropout follow; 0: neither is read */
} duet_layer_norm_inputs;
#define DUET_LAYER_NORM_INPUTS_INIT \
  { sizeof(duet_layer_norm_inputs), {0}, {0}, {0}, 1e-5f, DUET_DROPOUT_OPTIONS_INIT, DUET_ACTIVATION_KIND_RELU, 0 }

DUET_API duet_status duet_normalization_workspace(const duet_context* context, duet_matrix x, size_t* bytes);
DUET_API duet_status duet_unit_rows_forward(duet_context* context, duet_matrix x, float eps, duet_matrix outputs);
DUET_API duet_status duet_unit_rows_backward(duet_context* context, duet_matrix x, float eps, duet_matrix grad_outputs,
                                             duet_matrix grad_x);
DUET_API duet_status duet_layer_norm_workspace(const duet_context* context, const duet_layer_norm_inputs* inputs,
                                               size_t* bytes);
DUET_API duet_status duet_layer_norm_forward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                             duet_matrix outputs);
DUET_API duet_status duet_layer_norm_backward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                              duet_matrix grad_outputs, duet_matrix grad_x, duet_vector grad_gain,
                                              duet_vector grad_offset, duet_workspace workspace);

#ifdef __cplusplus
}
#endif
#endif
