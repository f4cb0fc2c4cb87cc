/* Small sums that turn per-row terms into a loss. They are calls of their own, so that several parts of a batch can be
   added before the division.
   weighted_mean: loss[0] = sum_i weights_i values_i / divisor[0]. The loss is 0 where the divisor is 0. A value of
     weight 0 is left out, even where it is NaN. Backward adds grad_loss weights_i / divisor into grad_values.
   weighted_sum: total[0] = sum_k weights_k terms_k over scalars, each in a vector of its own (the terms of METHOD.md
     6.11). A term of weight 0 is left out. Backward adds grad_total weights_k into the k-th gradient; a null gradient
     is not computed. The same gradient may stand in several places.
   terms: the weighted sum of a step's terms. A term is a mean, or half the sum of two means (a loss over pairs). The
     numbers are those of weighted_mean and weighted_sum called one after another, each rounded to float32. On a CUDA
     device it is one launch forward and one backward.
   Sums are in float64, in an order that their length fixes. No workspace. Errors: DUET_STATUS_INVALID_ARGUMENT;
   DUET_STATUS_UNSUPPORTED (CUDA: a sum of more than 240 scalars, terms of more than 64 means). */
#ifndef DUET_REDUCTION_REDUCTION_H
#define DUET_REDUCTION_REDUCTION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct duet_weighted_mean_inputs {
  size_t struct_size;        /* set by DUET_WEIGHTED_MEAN_INPUTS_INIT */
  duet_const_vector values;  /* n, float32; backward does not read them, and they may be null there */
  duet_const_vector weights; /* n, float32; null: 1 */
  duet_const_vector divisor; /* 1, float32; null: n */
} duet_weighted_mean_inputs;
#define DUET_WEIGHTED_MEAN_INPUTS_INIT DUET_INIT(duet_weighted_mean_inputs, )
typedef struct duet_weighted_mean_outputs {
  size_t struct_size; /* set by DUET_WEIGHTED_MEAN_OUTPUTS_INIT */
  duet_vector loss;   /* 1, float32 */
} duet_weighted_mean_outputs;
#define DUET_WEIGHTED_MEAN_OUTPUTS_INIT DUET_INIT(duet_weighted_mean_outputs, )
typedef struct duet_weighted_mean_gradients {
  size_t struct_size;          /* set by DUET_WEIGHTED_MEAN_GRADIENTS_INIT */
  duet_const_vector grad_loss; /* 1, float32: the upstream gradient */
  duet_vector grad_values;     /* n, float32: added to */
} duet_weighted_mean_gradients;
#define DUET_WEIGHTED_MEAN_GRADIENTS_INIT DUET_INIT(duet_weighted_mean_gradients, )

typedef struct duet_weighted_sum_inputs {
  size_t struct_size;             /* set by DUET_WEIGHTED_SUM_INPUTS_INIT */
  const duet_const_vector* terms; /* an array of count, 1 each, float32; backward does not read it, may be null there */
  const duet_const_vector* weights; /* an array of count, 1 each, float32 */
  int64_t count;                    /* 0 or more */
} duet_weighted_sum_inputs;
#define DUET_WEIGHTED_SUM_INPUTS_INIT DUET_INIT(duet_weighted_sum_inputs, )
typedef struct duet_weighted_sum_outputs {
  size_t struct_size; /* set by DUET_WEIGHTED_SUM_OUTPUTS_INIT */
  duet_vector total;  /* 1, float32 */
} duet_weighted_sum_outputs;
#define DUET_WEIGHTED_SUM_OUTPUTS_INIT DUET_INIT(duet_weighted_sum_outputs, )
typedef struct duet_weighted_sum_gradients {
  size_t struct_size;            /* set by DUET_WEIGHTED_SUM_GRADIENTS_INIT */
  duet_const_vector grad_total;  /* 1, float32: the upstream gradient */
  const duet_vector* grad_terms; /* an array of count, 1 each, float32: added to; one that is null is not computed */
} duet_weighted_sum_gradients;
#define DUET_WEIGHTED_SUM_GRADIENTS_INIT DUET_INIT(duet_weighted_sum_gradients, )

/* A mean, as of weighted_mean; one value without weights and divisor is that value. */
typedef struct duet_mean {
  duet_const_vector values;  /* n, float32 */
  duet_const_vector weights; /* n, float32; null: 1 */
  duet_const_vector divisor; /* 1, float32; null: n */
} duet_mean;
/* One of the terms. */
typedef struct duet_term {
  duet_const_vector weight; /* 1, float32: of the term in the total */
  int64_t means;            /* 1: the term is a mean; 2: half the sum of two */
} duet_term;
typedef struct duet_terms_inputs {
  size_t struct_size;     /* set by DUET_TERMS_INPUTS_INIT */
  const duet_term* terms; /* an array of term_count */
  int64_t term_count;     /* 0 or more */
  size_t term_size;       /* of one; set by DUET_TERMS_INPUTS_INIT */
  const duet_mean* means; /* an array of mean_count: those of the first term, then those of the second, ... */
  int64_t mean_count;     /* the sum of the terms' means */
  size_t mean_size;       /* of one; set by DUET_TERMS_INPUTS_INIT */
} duet_terms_inputs;
#define DUET_TERMS_INPUTS_INIT \
  DUET_INIT(duet_terms_inputs, DUET_SET(term_size, sizeof(duet_term)) DUET_SET(mean_size, sizeof(duet_mean)))
typedef struct duet_terms_outputs {
  size_t struct_size; /* set by DUET_TERMS_OUTPUTS_INIT */
  duet_vector losses; /* term_count, float32: each term; may be null */
  duet_vector total;  /* 1, float32: the weighted sum */
} duet_terms_outputs;
#define DUET_TERMS_OUTPUTS_INIT DUET_INIT(duet_terms_outputs, )
typedef struct duet_terms_gradients {
  size_t struct_size;             /* set by DUET_TERMS_GRADIENTS_INIT */
  duet_const_vector grad_total;   /* 1, float32: the upstream gradient */
  const duet_vector* grad_values; /* an array of mean_count, as long as the mean's values each, float32: added to from
                                     the last mean to the first, as a tape runs backward; one that is null is not
                                     computed. One gradient may stand in several places, whole. */
} duet_terms_gradients;
#define DUET_TERMS_GRADIENTS_INIT DUET_INIT(duet_terms_gradients, )

DUET_API duet_status duet_weighted_mean_forward(duet_context* context, const duet_weighted_mean_inputs* inputs,
                                                const duet_weighted_mean_outputs* outputs);
DUET_API duet_status duet_weighted_mean_backward(duet_context* context, const duet_weighted_mean_inputs* inputs,
                                                 const duet_weighted_mean_gradients* gradients);
DUET_API duet_status duet_weighted_sum_forward(duet_context* context, const duet_weighted_sum_inputs* inputs,
                                               const duet_weighted_sum_outputs* outputs);
DUET_API duet_status duet_weighted_sum_backward(duet_context* context, const duet_weighted_sum_inputs* inputs,
                                                const duet_weighted_sum_gradients* gradients);
DUET_API duet_status duet_terms_forward(duet_context* context, const duet_terms_inputs* inputs,
                                        const duet_terms_outputs* outputs);
DUET_API duet_status duet_terms_backward(duet_context* context, const duet_terms_inputs* inputs,
                                         const duet_terms_gradients* gradients);

#ifdef __cplusplus
}
#endif
#endif
