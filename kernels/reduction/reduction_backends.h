// What each backend implements of reduction, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet {
namespace cpu {

void weighted_mean_forward(Vector<const float> values, Vector<const float> weights, Vector<const float> divisor, Vector<float> loss);
void weighted_mean_backward(Vector<const float> weights, Vector<const float> divisor, Vector<const float> grad_loss, Vector<float> grad_values);
// Arrays of count checked views of size 1; a grad_terms[k] without data is not computed.
void weighted_sum_forward(const duet_vector* terms, const duet_vector* weights, int64_t count, Vector<float> total);
void weighted_sum_backward(const duet_vector* weights, int64_t count, Vector<const float> grad_total, const duet_vector* grad_terms);

}  // namespace cpu

namespace cuda {

void weighted_mean_forward(const duet_context& context, Vector<const float> values, Vector<const float> weights, Vector<const float> divisor,
                           Vector<float> loss);
void weighted_mean_backward(const duet_context& context, Vector<const float> weights, Vector<const float> divisor, Vector<const float> grad_loss,
                            Vector<float> grad_values);
// Arrays of count checked views of size 1; a grad_terms[k] without data is not computed.
void weighted_sum_forward(const duet_context& context, const duet_vector* terms, const duet_vector* weights, int64_t count, Vector<float> total);
void weighted_sum_backward(const duet_context& context, const duet_vector* weights, int64_t count, Vector<const float> grad_total,
                           const duet_vector* grad_terms);

}  // namespace cuda
}  // namespace duet
