/* Elementwise activations of x (B x d), and dropout (METHOD.md 0 and 6.1). outputs may be x itself; outputs that
   overlap only a part of x are refused.
   relu: max(x, 0); NaN stays NaN, the derivative at 0 is 0. tanh. gelu: x Phi(x), exact (erf).
   dropout: the element (i, j) has the number e = (first_row + i) d + j. It is dropped where word e of stream 5 + 256
     layer is below coin_threshold(drop_probability), and divided by 1 - drop_probability elsewhere. A dropped element
   is 0, even where it was NaN. Backward draws the same words, so no mask is stored. Backward adds into grad_x. The
   backward pass of an activation reads the inputs x, not the outputs. No workspace. Same inputs, same bits. Errors:
   DUET_STATUS_INVALID_ARGUMENT (also a drop_probability outside [0, 1)). */
#ifndef DUET_ACTIVATION_ACTIVATION_H
#define DUET_ACTIVATION_ACTIVATION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An activation. */
typedef enum duet_activation_kind {
  DUET_ACTIVATION_KIND_RELU = 0, /* max(x, 0) */
  DUET_ACTIVATION_KIND_TANH = 1, /* tanh x */
  DUET_ACTIVATION_KIND_GELU = 2  /* x Phi(x) */
} duet_activation_kind;

typedef struct duet_activation_inputs {
  size_t struct_size;        /* set by DUET_ACTIVATION_INPUTS_INIT */
  duet_const_matrix x;       /* B x d, float32 */
  duet_activation_kind kind; /* which of them */
  int32_t reserved;          /* 0 */
} duet_activation_inputs;
#define DUET_ACTIVATION_INPUTS_INIT DUET_INIT(duet_activation_inputs, )
typedef struct duet_activation_outputs {
  size_t struct_size;  /* set by DUET_ACTIVATION_OUTPUTS_INIT */
  duet_matrix outputs; /* B x d, float32: the activation of x; may be x itself */
} duet_activation_outputs;
#define DUET_ACTIVATION_OUTPUTS_INIT DUET_INIT(duet_activation_outputs, )
typedef struct duet_activation_gradients {
  size_t struct_size;             /* set by DUET_ACTIVATION_GRADIENTS_INIT */
  duet_const_matrix grad_outputs; /* B x d, float32: d loss / d outputs */
  duet_matrix grad_x;             /* B x d, float32: d loss / d x is added */
} duet_activation_gradients;
#define DUET_ACTIVATION_GRADIENTS_INIT DUET_INIT(duet_activation_gradients, )

/* Which elements are dropped; also of operations that drop what they have computed. */
typedef struct duet_dropout_options {
  size_t struct_size;     /* set by DUET_DROPOUT_OPTIONS_INIT */
  float drop_probability; /* of an element, 0 to below 1 */
  uint32_t layer;         /* below 2^24: which layer of a model; each has a stream of its own */
  uint64_t seed;          /* of the run */
  duet_const_vector step; /* int64, 1: number of the training step, 0 to below 2^32 */
  int64_t first_row;      /* global index of the call's first row, 0 or more */
} duet_dropout_options;
#define DUET_DROPOUT_OPTIONS_INIT DUET_INIT(duet_dropout_options, )
typedef struct duet_dropout_inputs {
  size_t struct_size;                  /* set by DUET_DROPOUT_INPUTS_INIT */
  duet_const_matrix x;                 /* B x d, float32; backward does not read it, and it may be null there */
  const duet_dropout_options* dropout; /* which elements */
} duet_dropout_inputs;
#define DUET_DROPOUT_INPUTS_INIT DUET_INIT(duet_dropout_inputs, )
typedef struct duet_dropout_outputs {
  size_t struct_size;  /* set by DUET_DROPOUT_OUTPUTS_INIT */
  duet_matrix outputs; /* B x d, float32: what is left of x; may be x itself */
} duet_dropout_outputs;
#define DUET_DROPOUT_OUTPUTS_INIT DUET_INIT(duet_dropout_outputs, )
typedef struct duet_dropout_gradients {
  size_t struct_size;             /* set by DUET_DROPOUT_GRADIENTS_INIT */
  duet_const_matrix grad_outputs; /* B x d, float32: d loss / d outputs */
  duet_matrix grad_x;             /* B x d, float32: d loss / d x is added */
} duet_dropout_gradients;
#define DUET_DROPOUT_GRADIENTS_INIT DUET_INIT(duet_dropout_gradients, )

DUET_API duet_status duet_activation_forward(duet_context* context, const duet_activation_inputs* inputs,
                                             const duet_activation_outputs* outputs);
DUET_API duet_status duet_activation_backward(duet_context* context, const duet_activation_inputs* inputs,
                                              const duet_activation_gradients* gradients);
DUET_API duet_status duet_dropout_forward(duet_context* context, const duet_dropout_inputs* inputs,
                                          const duet_dropout_outputs* outputs);
DUET_API duet_status duet_dropout_backward(duet_context* context, const duet_dropout_inputs* inputs,
                                           const duet_dropout_gradients* gradients);

#ifdef __cplusplus
}
#endif
#endif
