// METHOD.md 6.7: the cross-entropy of each row and what an upstream weight of it means for the logits. In double, for tests alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace duet::reference {

inline std::vector<double> log_softmax(const double* z, int64_t classes) {
  double largest = -HUGE_VAL, sum = 0;
  for (int64_t c = 0; c < classes; ++c) largest = z[c] > largest ? z[c] : largest;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(z[c] - largest);
  std::vector<double> out;
  for (int64_t c = 0; c < classes; ++c) out.push_back(z[c] - largest - std::log(sum));
  return out;
}

inline std::vector<double> cross_entropy(const std::vector<double>& z, const std::vector<double>& q, int64_t rows, int64_t classes) {
  std::vector<double> loss;
  for (int64_t i = 0; i < rows; ++i) {
    const auto logs = log_softmax(z.data() + i * classes, classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum -= q[i * classes + c] * logs[c];
    loss.push_back(sum);
  }
  return loss;
}

inline std::vector<double> cross_entropy_gradient(const std::vector<double>& z, const std::vector<double>& q, const std::vector<double>& weight,
                                                  int64_t rows, int64_t classes) {
  std::vector<double> grad;
  for (int64_t i = 0; i < rows; ++i) {
    const auto logs = log_softmax(z.data() + i * classes, classes);
    double mass = 0;
    for (int64_t c = 0; c < classes; ++c) mass += q[i * classes + c];
    for (int64_t c = 0; c < classes; ++c) grad.push_back(weight[i] * (std::exp(logs[c]) * mass - q[i * classes + c]));
  }
  return grad;
}

}  // namespace duet::reference
