#include "kernels/reduction/reduction_backends.h"

// One thread: these sums run over the rows of a batch, microseconds even at 65536, and their order is part of the contract.
namespace duet::cpu {
namespace {

double divisor_of(Vector<const float> divisor, int64_t count) { return divisor ? double{divisor[0]} : static_cast<double>(count); }
double scalar(const duet_vector& view) { return *static_cast<const float*>(view.data); }

}  // namespace

void weighted_mean_forward(Vector<const float> values, Vector<const float> weights, Vector<const float> divisor, Vector<float> loss) {
  const double over = divisor_of(divisor, values.size);
  double sum = 0;
  for (int64_t i = 0; i < values.size; ++i) {
    if (!weights)
      sum += values[i];
    else if (weights[i] != 0)
      sum += double{weights[i]} * values[i];
  }
  loss[0] = over == 0 ? 0 : static_cast<float>(sum / over);
}

void weighted_mean_backward(Vector<const float> weights, Vector<const float> divisor, Vector<const float> grad_loss, Vector<float> grad_values) {
  const double over = divisor_of(divisor, grad_values.size);
  if (over == 0) return;
  const double share = grad_loss[0] / over;
  for (int64_t i = 0; i < grad_values.size; ++i) {
    const double weight = weights ? double{weights[i]} : 1;
    if (weight != 0) grad_values[i] = static_cast<float>(grad_values[i] + share * weight);
  }
}

void weighted_sum_forward(const duet_vector* terms, const duet_vector* weights, int64_t count, Vector<float> total) {
  double sum = 0;
  for (int64_t k = 0; k < count; ++k)
    if (const double weight = scalar(weights[k]); weight != 0) sum += weight * scalar(terms[k]);
  total[0] = static_cast<float>(sum);
}

void weighted_sum_backward(const duet_vector* weights, int64_t count, Vector<const float> grad_total, const duet_vector* grad_terms) {
  for (int64_t k = 0; k < count; ++k) {
    const double weight = scalar(weights[k]);
    if (grad_terms[k].data == nullptr || weight == 0) continue;
    float& to = *static_cast<float*>(grad_terms[k].data);
    to = static_cast<float>(to + grad_total[0] * weight);
  }
}

}  // namespace duet::cpu
