#include "kernels/reduction/reduction_backends.h"
#include "kernels/reduction/reduction_formula.h"

// One thread is used: these sums over the rows of a batch take microseconds even at 65536, and their order is part of
// the contract.
namespace duet::cpu {
namespace {

float scalar(const duet_const_vector& view) { return *static_cast<const float*>(view.data); }

}  // namespace

void weighted_mean_forward(Vector<const float> values, Vector<const float> weights, Vector<const float> divisor,
                           Vector<float> loss) {
  double sum = 0;
  for (int64_t i = 0; i < values.size; ++i) sum = with_term(sum, weights ? weights[i] : 1, values[i]);
  loss[0] = mean_of(sum, divisor_of(divisor, values.size));
}

void weighted_mean_backward(Vector<const float> weights, Vector<const float> divisor, Vector<const float> grad_loss,
                            Vector<float> grad_values) {
  const double over = divisor_of(divisor, grad_values.size);
  if (over == 0) return;
  const double share = grad_loss[0] / over;
  for (int64_t i = 0; i < grad_values.size; ++i)
    grad_values[i] = with_share(grad_values[i], share, weights ? weights[i] : 1);
}

void weighted_sum_forward(const duet_const_vector* terms, const duet_const_vector* weights, int64_t count,
                          Vector<float> total) {
  double sum = 0;
  for (int64_t k = 0; k < count; ++k) sum = with_term(sum, scalar(weights[k]), scalar(terms[k]));
  total[0] = static_cast<float>(sum);
}

void weighted_sum_backward(const duet_const_vector* weights, int64_t count, Vector<const float> grad_total,
                           const duet_vector* grad_terms) {
  for (int64_t k = 0; k < count; ++k) {
    if (grad_terms[k].data == nullptr) continue;
    float& to = *static_cast<float*>(grad_terms[k].data);
    to = with_share(to, grad_total[0], scalar(weights[k]));
  }
}

}  // namespace duet::cpu
