// A problem of alignment, its calls, and what the reference says of it.
#pragma once

#include "tests/reference/alignment.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/tolerance.h"

namespace duet::test::alignment {

inline const duet_metric kScores[] = {DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN,
                                      DUET_METRIC_COSINE};
inline const char* const kNames[] = {"inner", "sqeuclidean", "euclidean", "cosine"};

struct Problem {
  Floats a, v;
  float scale;
  duet_metric score = DUET_METRIC_INNER;
  duet_precision precision = DUET_PRECISION_TF32X3;
  bool exclude_own = false;
  int64_t first_row = 0, first_column = 0;

  int64_t n() const { return a.rows(); }
  int64_t m() const { return v.rows(); }
  int64_t d() const { return a.columns(); }
  bool excluded(int64_t i, int64_t j) const { return exclude_own && first_row + i == first_column + j; }
  // -inf of what takes no part.
  Doubles scores() const {
    Doubles s = reference::scores(a.values(), v.values(), n(), m(), d(), score, scale);
    for (int64_t i = 0; i < n(); ++i)
      for (int64_t j = 0; j < m(); ++j)
        if (excluded(i, j)) s[i * m() + j] = -std::numeric_limits<double>::infinity();
    return s;
  }
  Doubles lse_row() const { return reference::log_sum_exp_rows(scores(), n(), m()); }
  Doubles lse_column() const {
    return reference::log_sum_exp_rows(reference::transposed(scores(), n(), m()), m(), n());
  }
  double tolerance() const {
    // A squared distance may be off by twice an inner product, and so may an Euclidean one by the root of that.
    const double e = 2 * inner_product_error(d(), precision);
    return score == DUET_METRIC_EUCLIDEAN
               ? std::sqrt(e) * std::abs(scale) + 2e-6
               : softmax_tolerance(d(), std::abs(scale), 1, precision) * (score == DUET_METRIC_SQEUCLIDEAN ? 2 : 1);
  }
};

// The inputs struct with the arrays it points to.
struct Call {
  Call(Problem& problem, int threads) : context(threads, problem.precision), scale(1, 1) {
    scale.at(0) = problem.scale;
    inputs.score = problem.score;
    inputs.exclude_own = problem.exclude_own;
    inputs.first_row = problem.first_row, inputs.first_column = problem.first_column;
    inputs.a = problem.a.matrix(), inputs.v = problem.v.matrix(), inputs.scale = scale.vector();
    SUCCEED_CALL(duet_alignment_workspace(context, &inputs, &bytes));
    scratch = std::make_unique<Scratch>(bytes);
  }
  Context context;
  Floats scale;
  duet_alignment_inputs inputs = DUET_ALIGNMENT_INPUTS_INIT;
  size_t bytes = 0;
  std::unique_ptr<Scratch> scratch;
};

struct Sums {
  Floats row, column;
};

inline Sums forward(Problem& problem, int threads = 2) {
  Call call(problem, threads);
  Sums out{Floats(problem.n(), 1), Floats(problem.m(), 1)};
  SUCCEED_CALL(duet_alignment_forward(
      call.context, &call.inputs,
      sized<duet_alignment_outputs>({.lse_row = out.row.vector(), .lse_column = out.column.vector()}),
      call.scratch->view()));
  return out;
}

struct Gradients {
  Floats a, v, scale;
  bool same_bits(const Gradients& other) const {
    return a.same_bits(other.a) && v.same_bits(other.v) && scale.same_bits(other.scale);
  }
};

inline Gradients prefilled(const Problem& problem, uint64_t seed = 5) {
  Draw draw(seed);
  return {draw.normals(problem.n(), problem.d(), 0.01, 1), draw.normals(problem.m(), problem.d(), 0.01, 2),
          draw.normals(1, 1, 0.01)};
}

inline Gradients backward(Problem& problem, Sums lse, Sums weights, int threads, Gradients into) {
  Call call(problem, threads);
  SUCCEED_CALL(duet_alignment_backward(call.context, &call.inputs,
                                       sized<duet_alignment_gradients>({.lse_row = lse.row.vector(),
                                                                        .lse_column = lse.column.vector(),
                                                                        .grad_lse_row = weights.row.vector(),
                                                                        .grad_lse_column = weights.column.vector(),
                                                                        .grad_a = into.a.matrix(),
                                                                        .grad_v = into.v.matrix(),
                                                                        .grad_scale = into.scale.vector()}),
                                       call.scratch->view()));
  return into;
}

// d loss/d s of loss = sum_i row_i lse_row_i + sum_j column_j lse_column_j
inline Doubles score_gradient(const Problem& problem, const Sums& weights) {
  const int64_t n = problem.n(), m = problem.m();
  const Doubles s = problem.scores(), p = reference::softmax_rows(s, n, m),
                q = reference::softmax_rows(reference::transposed(s, n, m), m, n);
  Doubles g(s.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j)
      g[i * m + j] =
          problem.excluded(i, j) ? 0 : weights.row.at(i) * p[i * m + j] + weights.column.at(j) * q[j * n + i];
  return g;
}

inline double rounding(const Sums& weights) {
  return 2e-7 * std::max(largest(weights.row.values()), largest(weights.column.values()));
}

inline Doubles added(const Floats& before, const Doubles& expected) {
  Doubles out = before.values();
  for (size_t k = 0; k < out.size(); ++k) out[k] += expected[k];
  return out;
}

// rounding: of one d loss/d s, which is what is left where the gradient itself cancels (one pair alone, equal rows).
inline void check_gradients(const Problem& problem, const Doubles& grad_s, const Gradients& before,
                            const Gradients& after, double relative, double rounding) {
  const auto expected = reference::score_gradients(problem.a.values(), problem.v.values(), problem.n(), problem.m(),
                                                   problem.d(), problem.score, problem.scale, grad_s);
  const std::string name = kNames[problem.score];
  // A squared distance passes d loss/d s on twice; adding to what was there rounds once more, to half an ulp of the
  // sum.
  const double floor = 2 * rounding * std::abs(problem.scale) + 1e-8;
  check_relative(after.a.values(), added(before.a, expected.a), relative, "grad_a " + name, floor);
  check_relative(after.v.values(), added(before.v, expected.v), relative, "grad_v " + name, floor);
  check_close(after.scale.values(), added(before.scale, {expected.scale}),
              relative * expected.scale_terms + 2 * rounding + 1e-8, "grad_scale " + name);
}

}  // namespace duet::test::alignment
