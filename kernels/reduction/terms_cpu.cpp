// The terms are computed one after another by the calls for one mean, on one thread, because their order is part of the
// contract.
#include "kernels/reduction/reduction_backends.h"
#include "kernels/reduction/reduction_formula.h"

namespace duet::cpu {
namespace {

Vector<const float> floats(const duet_const_vector& view) { return {static_cast<const float*>(view.data), view.size}; }

float value_of(const duet_mean& mean) {
  float value = 0;
  weighted_mean_forward(floats(mean.values), floats(mean.weights), floats(mean.divisor), {&value, 1});
  return value;
}

}  // namespace

void terms_forward(const TermsInputs& inputs, Vector<float> losses, Vector<float> total) {
  double sum = 0;
  const duet_mean* mean = inputs.means;
  for (int64_t k = 0; k < inputs.term_count; ++k) {
    const duet_term& term = inputs.terms[k];
    const float loss = term.means == 2 ? half_of_both(value_of(mean[0]), value_of(mean[1])) : value_of(mean[0]);
    if (losses) losses[k] = loss;
    sum = with_term(sum, floats(term.weight)[0], loss);
    mean += term.means;
  }
  total[0] = static_cast<float>(sum);
}

void terms_backward(const TermsInputs& inputs, Vector<const float> grad_total, const duet_vector* grad_values) {
  int64_t end = inputs.mean_count;
  for (int64_t k = inputs.term_count - 1; k >= 0; --k) {
    const duet_term& term = inputs.terms[k];
    const int64_t first = end - term.means;
    const float weight = floats(term.weight)[0];
    float upstream = with_share(0, grad_total[0], weight);
    if (term.means == 2) upstream = with_share(0, upstream, kHalf);
    for (int64_t m = end - 1; m >= first; --m) {
      const duet_mean& mean = inputs.means[m];
      const Vector<float> grad{static_cast<float*>(grad_values[m].data), grad_values[m].size};
      if (!grad) continue;
      if (term.means == 1 && is_scalar(mean))
        grad[0] = with_share(grad[0], grad_total[0], weight);
      else
        weighted_mean_backward(floats(mean.weights), floats(mean.divisor), {&upstream, 1}, grad);
    }
    end = first;
  }
}

}  // namespace duet::cpu
