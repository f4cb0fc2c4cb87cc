// METHOD.md 6.7: the cross-entropy of each row and what an upstream weight of it means for the logits. In double, for
// tests alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace duet::reference {

// The largest logit's comes from the sum over the others, as 1 + little has no digits for it.
inline std::vector<double> log_softmax(const double* z, int64_t classes) {
  int64_t at = 0;
  double others = 0;
  for (int64_t c = 0; c < classes; ++c) at = z[c] > z[at] ? c : at;
  for (int64_t c = 0; c < classes; ++c) others += c == at ? z[c] - z[c] : std::exp(z[c] - z[at]);
  std::vector<double> out;
  for (int64_t c = 0; c < classes; ++c) out.push_back((z[c] - z[at]) - std::log1p(others));
  return out;
}

inline std::vector<double> cross_entropy(const std::vector<double>& z, const std::vector<double>& q, int64_t rows,
                                         int64_t classes) {
  std::vector<double> loss;
  for (int64_t i = 0; i < rows; ++i) {
    const auto logs = log_softmax(z.data() + i * classes, classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c)
      sum -= q[i * classes + c] == 0 && logs[c] == -INFINITY ? 0 : q[i * classes + c] * logs[c];
    loss.push_back(sum);
  }
  return loss;
}

inline std::vector<double> cross_entropy_gradient(const std::vector<double>& z, const std::vector<double>& q,
                                                  const std::vector<double>& weight, int64_t rows, int64_t classes) {
  std::vector<double> grad;
  for (int64_t i = 0; i < rows; ++i) {
    const auto logs = log_softmax(z.data() + i * classes, classes);
    double mass = 0;
    for (int64_t c = 0; c < classes; ++c) mass += q[i * classes + c];
    for (int64_t c = 0; c < classes; ++c) {
      double pull = std::exp(logs[c]) * mass - q[i * classes + c];
      if (std::exp(logs[c]) > 0.5) {  // from what both leave to the other classes
        pull = 0;
        for (int64_t k = 0; k < classes; ++k)
          if (k != c) pull += q[i * classes + k] - std::exp(logs[k]) * mass;
      }
      grad.push_back(weight[i] * pull);
    }
  }
  return grad;
}

}  // namespace duet::reference
