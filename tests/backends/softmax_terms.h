// What the operations on a softmax over pairs share: errors of scores, and what d loss/d score gives the rows and the
// scale.
#pragma once

#include "tests/backends/softmax_floors.h"

namespace duet::test::backends {

// METHOD.md 5's floor of a log-sum-exp, a KL, a cross-entropy.
inline constexpr double kLossFloor = 2e-6;

inline Doubles transposed(const Doubles& x, int64_t rows, int64_t columns) {
  return reference::transposed(x, rows, columns);
}

inline Doubles sum(Doubles a, const Doubles& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

// The errors of scores +-scale D.
inline Doubles score_errors(const Pairs& pairs, double scale) {
  Doubles errors = pairs.error_sizes(pairs.metric, true);
  // Of a root: the root of the error at most, and the error over the root.
  const Doubles distances = pairs.metric == DUET_METRIC_EUCLIDEAN ? pairs.distances(Values(0, 0)) : Doubles();
  for (size_t k = 0; k < errors.size(); ++k) {
    if (!distances.empty()) errors[k] = std::min(1e3 * std::sqrt(errors[k]), errors[k] / distances[k]);
    errors[k] *= scale;
  }
  return errors;
}

// What d loss/d s (n x m) gives the rows and the scale.
struct Gradients {
  Doubles a, v, scale;
};
inline Gradients gradients_of(const Pairs& pairs, const Values& value, double scale, const Doubles& grad_s) {
  const double sign = pairs.metric == DUET_METRIC_INNER ? 1 : -1;
  const Doubles dots = pairs.distances(value);
  Doubles g(grad_s.size());
  double of_scale = 0;
  for (size_t k = 0; k < g.size(); ++k) {
    g[k] = sign * scale * grad_s[k];
    of_scale += sign * grad_s[k] * dots[k];
  }
  const auto rows = pairs.gradients(value, g);
  return {rows.x, rows.y, {of_scale}};
}

inline float draw_scale(Case& c) { return c.one_of({0.5f, 1.0f, 3.7f, 10.0f, 100.0f, 1000.0f}); }

// grad_a, grad_v and grad_scale: the reference's and what float32's exponents may change.
inline std::vector<Expected> expected_gradients(const Gradients& grad, const GradientFloors& floors) {
  return {
      {"grad_a", grad.a, 0, floors.a}, {"grad_v", grad.v, 0, floors.v}, {"grad_scale", grad.scale, 0, floors.scale}};
}

inline std::vector<Expected> joined(std::vector<Expected> all, const std::vector<Expected>& more) {
  all.insert(all.end(), more.begin(), more.end());
  for (Expected& e : all) e.any_infinite = true;
  return all;
}

}  // namespace duet::test::backends
