/* Small sums that turn per-row terms into a loss. They are calls of their own, so that several parts of a batch can be
   added before the division.
   weighted_mean: loss[0] = sum_i weights_i values_i / divisor[0]. weights null: 1. divisor (1) null: the number of
     values. The loss is 0 where the divisor is 0. A value of weight 0 is left out, even where it is NaN. Backward adds
     grad_loss weights_i / divisor into grad_values.
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

DUET_API duet_status duet_weighted_mean_forward(duet_context* context, duet_vector values, duet_vector weights,
                                                duet_vector divisor, duet_vector loss);
DUET_API duet_status duet_weighted_mean_backward(duet_context* context, duet_vector weights, duet_vector divisor,
                                                 duet_vector grad_loss, duet_vector grad_values);
/* terms, weights, grad_terms: arrays of count vectors of size 1. */
DUET_API duet_status duet_weighted_sum_forward(duet_context* context, const duet_vector* terms,
                                               const duet_vector* weights, int64_t count, duet_vector total);
DUET_API duet_status duet_weighted_sum_backward(duet_context* context, const duet_vector* weights, int64_t count,
                                                duet_vector grad_total, const duet_vector* grad_terms);

typedef struct duet_mean {
  duet_vector values, weights, divisor; /* as of weighted_mean; one value without weights and divisor is that value */
} duet_mean;
typedef struct duet_term {
  duet_vector weight; /* 1: of the term in the total */
  int64_t means;      /* 1: the term is a mean; 2: half the sum of two */
} duet_term;
typedef struct duet_terms_inputs {
  size_t struct_size;
  const duet_term* terms;
  int64_t term_count;
  const duet_mean* means; /* those of the first term, then those of the second, ... */
  int64_t mean_count;
} duet_terms_inputs;
#define DUET_TERMS_INPUTS_INIT \
  { sizeof(duet_terms_inputs) }

/* losses: a value a term, or null. total: 1. grad_values: an array of mean_count vectors, added to from the last mean
   to the first, as a tape runs backward; null: not computed. One gradient may stand in several places, whole. */
DUET_API duet_status duet_terms_forward(duet_context* context, const duet_terms_inputs* inputs, duet_vector losses,
                                        duet_vector total);
DUET_API duet_status duet_terms_backward(duet_context* context, const duet_terms_inputs* inputs, duet_vector grad_total,
                                         const duet_vector* grad_values);

#ifdef __cplusplus
}
#endif
#endif
