/* Elementwise activations of x (rows x columns), and dropout (METHOD.md 0 and 6.1). outputs may be x itself; outputs
   that overlap only a part of x are refused.
   relu: max(x, 0); NaN stays NaN, the derivative at 0 is 0. tanh. gelu: x Phi(x), exact (erf).
   dropout: the element (i, j) has the number e = (first_row + i) columns + j. It is dropped where word e of stream 5 +
     256 layer is below coin_threshold(drop_probability), and divided by 1 - drop_probability elsewhere. A dropped
     element is 0, even where it was NaN. Backward draws the same words, so no mask is stored.
   Backward adds into grad_x. The backward pass of an activation reads the inputs x, not the outputs. No workspace. Same
   inputs, same bits. Errors: DUET_STATUS_INVALID_ARGUMENT (also a drop_probability outside [0, 1)). */
#ifndef DUET_ACTIVATION_ACTIVATION_H
#define DUET_ACTIVATION_ACTIVATION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum duet_activation_kind {
  DUET_ACTIVATION_KIND_RELU = 0,
  DUET_ACTIVATION_KIND_TANH = 1,
  DUET_ACTIVATION_KIND_GELU = 2
} duet_activation_kind;

typedef struct duet_activation_inputs {
  size_t struct_size;
  duet_activation_kind kind;
  duet_matrix x;
} duet_activation_inputs;
#define DUET_ACTIVATION_INPUTS_INIT \
  { sizeof(duet_activation_inputs) }

typedef struct duet_dropout_options {
  size_t struct_size;
  float drop_probability;
  uint32_t layer;
  uint64_t seed;
  duet_vector step; /* int64, size 1 */
  int64_t first_row;
} duet_dropout_options;
#define DUET_DROPOUT_OPTIONS_INIT \
  { sizeof(duet_dropout_options) }

DUET_API duet_status duet_activation_forward(duet_context* context, const duet_activation_inputs* inputs,
                                             duet_matrix outputs);
DUET_API duet_status duet_activation_backward(duet_context* context, const duet_activation_inputs* inputs,
                                              duet_matrix grad_outputs, duet_matrix grad_x);
DUET_API duet_status duet_dropout_forward(duet_context* context, duet_matrix x, const duet_dropout_options* options,
                                          duet_matrix outputs);
DUET_API duet_status duet_dropout_backward(duet_context* context, const duet_dropout_options* options,
                                           duet_matrix grad_outputs, duet_matrix grad_x);

#ifdef __cplusplus
}
#endif
#endif
