/* Small sums that turn per-row terms into a loss; on their own, so that several parts of a batch can add up before the division.
   weighted_mean: loss[0] = sum_i weights_i values_i / divisor[0]; weights null: 1; divisor (1) null: the number of values; 0 where the divisor
     is 0. A value whose weight is 0 is left out, NaN or not. Backward adds grad_loss weights_i / divisor into grad_values.
   weighted_sum: total[0] = sum_k weights_k terms_k over scalars that lie in one vector each (the terms of METHOD.md 6.11); a term whose weight
     is 0 is left out. Backward adds grad_total weights_k into the k-th gradient (null: not computed); one gradient may stand in several places.
   Sums are in float64, in an order that their length fixes. No workspace. Errors: DUET_INVALID_ARGUMENT; DUET_UNSUPPORTED (CUDA: a sum of more
   than 240 scalars). */
#ifndef DUET_REDUCTION_REDUCTION_H
#define DUET_REDUCTION_REDUCTION_H

#include "../core/context.h"
#include "../core/view.h"

#ifdef __cplusplus
extern "C" {
#endif

DUET_API duet_status duet_weighted_mean_forward(duet_context* context, duet_vector values, duet_vector weights, duet_vector divisor,
                                                duet_vector loss);
DUET_API duet_status duet_weighted_mean_backward(duet_context* context, duet_vector weights, duet_vector divisor, duet_vector grad_loss,
                                                 duet_vector grad_values);
/* terms, weights, grad_terms: arrays of count vectors of size 1. */
DUET_API duet_status duet_weighted_sum_forward(duet_context* context, const duet_vector* terms, const duet_vector* weights, int64_t count,
                                               duet_vector total);
DUET_API duet_status duet_weighted_sum_backward(duet_context* context, const duet_vector* weights, int64_t count, duet_vector grad_total,
                                                const duet_vector* grad_terms);

#ifdef __cplusplus
}
#endif
#endif
