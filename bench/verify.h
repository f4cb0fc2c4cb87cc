// The spot checks: a few entries recomputed in double by the bare formula. They catch a kernel that is wrong, or wrong
// on this shape; how precise a kernel is, the tests say.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/arrays.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace duet::bench {

using Doubles = std::vector<double>;

// First, middle and last of size entries.
inline std::vector<int64_t> spots(int64_t size) {
  std::vector<int64_t> out;
  for (const int64_t i : {int64_t{0}, size / 2, size - 1})
    if (i >= 0 && i < size && (out.empty() || out.back() != i)) out.push_back(i);
  return out;
}

// How far a value may be off, and how near two distances may lie that change places: of products as exact as fp32's;
// main says it of coarser ones.
struct Exactness {
  double relative = 1e-3, floor = 1e-5, tie = 1e-5;
};
inline Exactness exactness;

// Within 1e-3 of the larger of scale and |expected|, or 1e-5: far above float32's rounding, and above what a triplet
// that falls to the other side of its hinge moves, far below what a wrong term would do. NaN fails.
inline void expect_close(const char* what, int64_t i, double actual, double expected, double scale = 0) {
  const double allowed = exactness.relative * std::max(scale, std::abs(expected)) + exactness.floor;
  if (!(std::abs(actual - expected) <= allowed || actual == expected))
    throw Error(DUET_STATUS_INTERNAL_ERROR,
                text(what, "[", i, "]: expected ", expected, " within ", allowed, ", got ", actual));
}

inline void expect(bool condition, const char* what, int64_t i) {
  if (!condition) throw Error(DUET_STATUS_INTERNAL_ERROR, text(what, "[", i, "]: not what the formula gives"));
}

// Entries of a row, relative to the largest expected one.
inline void expect_row(const char* what, int64_t i, const float* actual, const Doubles& expected) {
  double scale = 0;
  for (const double value : expected) scale = std::max(scale, std::abs(value));
  for (size_t k = 0; k < expected.size(); ++k) expect_close(what, i, actual[k], expected[k], scale);
}

inline double dot(const float* x, const float* y, int64_t d) {
  double sum = 0;
  for (int64_t k = 0; k < d; ++k) sum += double{x[k]} * y[k];
  return sum;
}

inline double dot(const Floats& x, const Floats& y) { return dot(x.row(0), y.row(0), x.size()); }

// sum |x y|, the scale at which a sum of products may be off.
inline double absolute_dot(const Floats& x, const Floats& y) {
  double sum = 0;
  for (int64_t k = 0; k < x.size(); ++k) sum += std::abs(double{x[k]} * y[k]);
  return sum;
}

// A function of A V^T alone has <A, dA> = <V, dV>: one number that every entry of both gradients takes part in.
inline void expect_balanced(const Floats& a, const Floats& grad_a, const Floats& v, const Floats& grad_v) {
  expect_close("<v, grad_v>", 0, dot(v, grad_v), dot(a, grad_a),
               std::max(absolute_dot(a, grad_a), absolute_dot(v, grad_v)));
}

// METHOD.md 1 for one pair.
inline double distance(duet_metric metric, const float* x, const float* y, int64_t d) {
  if (metric == DUET_METRIC_INNER) return dot(x, y, d);
  if (metric == DUET_METRIC_COSINE)
    return 1 - dot(x, y, d) / std::max(std::sqrt(dot(x, x, d)), 1e-12) / std::max(std::sqrt(dot(y, y, d)), 1e-12);
  double square = 0;
  for (int64_t k = 0; k < d; ++k) square += (double{x[k]} - y[k]) * (double{x[k]} - y[k]);
  return metric == DUET_METRIC_EUCLIDEAN ? std::sqrt(square) : square;
}

// Adds g dD/dx for one pair to out (d).
inline void add_distance_gradient(duet_metric metric, const float* x, const float* y, int64_t d, double g,
                                  Doubles& out) {
  const auto add = [&](double of_x, double of_y) {
    for (int64_t k = 0; k < d; ++k) out[static_cast<size_t>(k)] += of_x * x[k] + of_y * y[k];
  };
  if (g == 0) return;
  if (metric == DUET_METRIC_INNER) return add(0, g);
  if (metric == DUET_METRIC_SQEUCLIDEAN) return add(2 * g, -2 * g);
  if (metric == DUET_METRIC_EUCLIDEAN) {
    const double value = distance(metric, x, y, d);
    return value > 0 ? add(g / value, -g / value) : void();
  }
  const double norm_x = std::sqrt(dot(x, x, d)), norm_y = std::max(std::sqrt(dot(y, y, d)), 1e-12);
  if (norm_x < 1e-12) return;
  add(g * dot(x, y, d) / (norm_x * norm_x * norm_x * norm_y), -g / (norm_x * norm_y));
}

// METHOD.md 3: the largest of these over the negatives nearer than 1.4 is the one that distance_weighted draws in slot
// 0.
inline double distance_weighted_key(double euclidean, int64_t d, uint64_t seed, uint32_t step, int64_t element) {
  const double e = std::max(euclidean, 0.5), width = static_cast<double>(d);
  const double log_q = (width - 2) * std::log(e) + (width - 3) / 2 * std::log(std::max(1 - e * e / 4, 1e-8));
  return -log_q -
         std::log(-std::log(uniform(random_word(seed, kStreamDistanceWeighted, step, static_cast<uint64_t>(element)))));
}

inline double log_sum_exp(const Doubles& scores) {
  double largest = -INFINITY, sum = 0;
  for (const double score : scores) largest = std::max(largest, score);
  if (largest == -INFINITY) return largest;
  for (const double score : scores) sum += std::exp(score - largest);
  return largest + std::log(sum);
}

// scale x_i.y_j for every row j of y.
inline Doubles scores(double scale, const float* x, const Floats& y) {
  Doubles out;
  for (int64_t j = 0; j < y.rows(); ++j) out.push_back(scale * dot(x, y.row(j), y.columns()));
  return out;
}

}  // namespace duet::bench
