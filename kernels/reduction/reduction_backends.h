// What each backend implements of reduction, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/reduction/reduction.h"

namespace duet {

// The caller's terms, checked. The means of all terms are one array, in which the one or two means of a term follow
// those of the term before it.
struct TermsInputs {
  const duet_term* terms;
  int64_t term_count;
  const duet_mean* means;
  int64_t mean_count;
};

// Whether a mean is that of one plain number. The gradient of a term of such a mean is the number's own, without the
// rounding of a mean.
inline bool is_scalar(const duet_mean& mean) {
  return mean.values.size == 1 && mean.weights.data == nullptr && mean.divisor.data == nullptr;
}

namespace cpu {

void weighted_mean_forward(Vector<const float> values, Vector<const float> weights, Vector<const float> divisor,
                           Vector<float> loss);
void weighted_mean_backward(Vector<const float> weights, Vector<const float> divisor, Vector<const float> grad_loss,
                            Vector<float> grad_values);
// Arrays of count checked views of size 1; a grad_terms[k] without data is not computed.
void weighted_sum_forward(const duet_const_vector* terms, const duet_const_vector* weights, int64_t count,
                          Vector<float> total);
void weighted_sum_backward(const duet_const_vector* weights, int64_t count, Vector<const float> grad_total,
                           const duet_vector* grad_terms);
// losses may be without data; grad_values: a view a mean, without data where it is not computed.
void terms_forward(const TermsInputs& inputs, Vector<float> losses, Vector<float> total);
void terms_backward(const TermsInputs& inputs, Vector<const float> grad_total, const duet_vector* grad_values);

}  // namespace cpu

namespace cuda {

void weighted_mean_forward(const duet_context& context, Vector<const float> values, Vector<const float> weights,
                           Vector<const float> divisor, Vector<float> loss);
void weighted_mean_backward(const duet_context& context, Vector<const float> weights, Vector<const float> divisor,
                            Vector<const float> grad_loss, Vector<float> grad_values);
// Arrays of count checked views of size 1; a grad_terms[k] without data is not computed.
void weighted_sum_forward(const duet_context& context, const duet_const_vector* terms, const duet_const_vector* weights,
                          int64_t count, Vector<float> total);
void weighted_sum_backward(const duet_context& context, const duet_const_vector* weights, int64_t count,
                           Vector<const float> grad_total, const duet_vector* grad_terms);
// losses may be without data; grad_values: a view a mean, without data where it is not computed.
void terms_forward(const duet_context& context, const TermsInputs& inputs, Vector<float> losses, Vector<float> total);
void terms_backward(const duet_context& context, const TermsInputs& inputs, Vector<const float> grad_total,
                    const duet_vector* grad_values);

}  // namespace cuda
}  // namespace duet
