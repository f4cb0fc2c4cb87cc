// Weighted mean and sum as their header states them, in double, for tests alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace duet::reference {

using Doubles = std::vector<double>;

// weights may be empty: 1.
inline double weighted_mean(const Doubles& values, const Doubles& weights, double divisor) {
  if (divisor == 0) return 0;
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double weight = weights.empty() ? 1 : weights[i];
    if (weight != 0) sum += weight * values[i];
  }
  return sum / divisor;
}

inline Doubles weighted_mean_backward(const Doubles& weights, std::size_t size, double divisor, double grad_loss) {
  Doubles grad(size);
  for (std::size_t i = 0; i < size && divisor != 0; ++i) {
    const double weight = weights.empty() ? 1 : weights[i];
    if (weight != 0) grad[i] = grad_loss * weight / divisor;
  }
  return grad;
}

// A term of a loss: its mean, or half the sum of its two.
struct Mean {
  Doubles values, weights;
  double divisor = 0;

  double value() const { return weighted_mean(values, weights, divisor); }
};
struct Term {
  double weight = 0;
  std::vector<Mean> means;

  double value() const {
    return means.size() == 2 ? 0.5 * means[0].value() + 0.5 * means[1].value() : means[0].value();
  }
  // Of the values of one of its means, for a gradient of the total.
  Doubles gradient(std::size_t mean, double grad_total) const {
    const Mean& of = means[mean];
    const double share = weight == 0 ? 0 : grad_total * weight / static_cast<double>(means.size());
    return weighted_mean_backward(of.weights, of.values.size(), of.divisor, share);
  }
};

inline double terms_total(const std::vector<Term>& terms) {
  double total = 0;
  for (const Term& term : terms)
    if (term.weight != 0) total += term.weight * term.value();
  return total;
}

}  // namespace duet::reference
