// A distillation problem for tests: its arrays, the calls on it, and what the reference expects of them.
#pragma once

#include <memory>

#include "tests/reference/distillation.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/row_column_losses.h"
#include "tests/support/tolerance.h"

namespace duet::test::distillation {
namespace reference = duet::reference;

struct Problem {
  Floats a, v, teacher_a, teacher_v, class_a, class_v, trust_a, trust_v, kappa_a, kappa_v;
  float scale, teacher_scale;
  bool paired = false;
  int64_t first_row = 0, first_column = 0;
  duet_precision precision = DUET_PRECISION_TF32X3;
  Ints group_a = Ints(0, 1), group_v = Ints(0, 1);  // of no row: no groups
  bool exclude_own = false;
  bool has_classes = true;
  Floats annotated_a = Floats(0, 1), annotated_v = Floats(0, 1);  // of no row: no flags

  int64_t n() const { return a.rows(); }
  int64_t m() const { return v.rows(); }
  int64_t d() const { return a.columns(); }
  bool has_groups() const { return group_a.rows() + group_v.rows() > 0; }
  bool excluded(int64_t i, int64_t j) const { return exclude_own && first_row + i == first_column + j; }
  // -inf of what takes no part.
  Doubles without_excluded(Doubles scores) const {
    for (int64_t i = 0; i < n(); ++i)
      for (int64_t j = 0; j < m(); ++j)
        if (excluded(i, j)) scores[i * m() + j] = -std::numeric_limits<double>::infinity();
    return scores;
  }
  Doubles student_scores() const {
    return without_excluded(reference::scores(a.values(), v.values(), n(), m(), d(), DUET_METRIC_INNER, scale));
  }
  Doubles teacher_scores() const {
    return without_excluded(reference::scores(teacher_a.values(), teacher_v.values(), n(), m(), teacher_a.columns(),
                                              DUET_METRIC_INNER, teacher_scale));
  }
  // pos of the rows, of side x; y: the other side.
  Doubles positives(const Floats& class_x, const Floats& class_y, const Floats& trust_y, const Ints& group_x,
                    const Ints& group_y, const Floats& annotated_x, const Floats& annotated_y, int64_t rows,
                    int64_t columns, int64_t first_x, int64_t first_y) const {
    const Doubles trust = trust_y.rows() > 0 ? trust_y.values() : Doubles(static_cast<size_t>(columns), 1);
    Doubles out = reference::positives(class_x.values(), class_y.values(), trust, rows, columns,
                                       paired && !exclude_own && (has_classes || has_groups()), first_x, first_y,
                                       annotated_x.values(), annotated_y.values());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        if (group_x.rows() > 0 && group_x.at(i) >= 0 && group_x.at(i) == group_y.at(j)) out[i * columns + j] = 1;
        if (exclude_own && first_x + i == first_y + j) out[i * columns + j] = 0;
      }
    return out;
  }
  reference::RowTerms rows(const Doubles& weight) const { return rows(student_scores(), weight); }
  reference::RowTerms columns(const Doubles& weight) const { return columns(student_scores(), weight); }
  reference::RowTerms rows(const Doubles& s, const Doubles& weight) const {
    return reference::distillation_rows(s, teacher_scores(),
                                        positives(class_a, class_v, trust_v, group_a, group_v, annotated_a, annotated_v,
                                                  n(), m(), first_row, first_column),
                                        kappa_a.values(), weight, n(), m(),
                                        exclude_own && m() == 1 ? first_column - first_row : -1);
  }
  reference::RowTerms columns(const Doubles& s, const Doubles& weight) const {
    return reference::distillation_rows(
        reference::transposed(s, n(), m()), reference::transposed(teacher_scores(), n(), m()),
        positives(class_v, class_a, trust_a, group_v, group_a, annotated_v, annotated_a, m(), n(), first_column,
                  first_row),
        kappa_v.values(), weight, m(), n(), exclude_own && n() == 1 ? first_row - first_column : -1);
  }
  double tolerance() const {
    return softmax_tolerance(std::max(d(), teacher_a.columns()), std::max(scale, teacher_scale), 1, precision);
  }

  // What an error of the teacher's products does to a KL: d KL_i/d t_ij = P'_ij (u_ij - sum_k P'_ik u_ik), u = t - s,
  // in sum over j, the largest of all rows and columns. With both temperatures at 1e-3 this passes what METHOD.md
  // grants, for any method that has its products in float32.
  double teacher_condition() const {
    const auto worst = [](const Doubles& s, const Doubles& t, int64_t n, int64_t m) {
      const Doubles p = reference::softmax_rows(t, n, m);
      double largest = 0;
      for (int64_t i = 0; i < n; ++i) {
        double mean = 0, spread = 0;
        for (int64_t k = i * m; k < (i + 1) * m; ++k) mean += p[k] > 0 ? p[k] * (t[k] - s[k]) : 0;
        for (int64_t k = i * m; k < (i + 1) * m; ++k) spread += p[k] > 0 ? p[k] * std::abs(t[k] - s[k] - mean) : 0;
        largest = std::max(largest, spread);
      }
      return largest;
    };
    const Doubles s = student_scores(), t = teacher_scores();
    return std::max(worst(s, t, n(), m()),
                    worst(reference::transposed(s, n(), m()), reference::transposed(t, n(), m()), m(), n()));
  }
};

inline Problem draw_problem(Draw& draw, int64_t n, int64_t m, int64_t d, float scale, float teacher_scale,
                            int64_t classes = 4, int64_t padding = 0) {
  return {draw.unit_rows(n, d, padding),
          draw.unit_rows(m, d, padding),
          draw.unit_rows(n, d + 2),
          draw.unit_rows(m, d + 2, padding),
          draw.distributions(n, classes),
          draw.distributions(m, classes),
          draw.choice(n, {1, 1, 0.6, 0}),
          draw.choice(m, {1, 1, 0.6, 0}),
          draw.choice(n, {1, 0.5, 0}),
          draw.choice(m, {1, 0.5, 0}),
          scale,
          teacher_scale};
}

// The inputs struct with what it points to.
struct Call {
  Call(Problem& p, int threads) : context(threads, p.precision), scale(1, 1), teacher_scale(1, 1) {
    scale.at(0) = p.scale, teacher_scale.at(0) = p.teacher_scale;
    inputs.student_a = p.a.matrix(), inputs.student_v = p.v.matrix();
    inputs.teacher_a = p.teacher_a.matrix(), inputs.teacher_v = p.teacher_v.matrix();
    if (p.has_classes) inputs.class_a = p.class_a.matrix(), inputs.class_v = p.class_v.matrix();
    if (p.trust_a.rows() > 0) inputs.trust_a = p.trust_a.vector(), inputs.trust_v = p.trust_v.vector();
    if (p.has_groups()) inputs.group_a = p.group_a.vector(), inputs.group_v = p.group_v.vector();
    if (p.annotated_a.rows() + p.annotated_v.rows() > 0)
      inputs.annotated_a = p.annotated_a.vector(), inputs.annotated_v = p.annotated_v.vector();
    inputs.exclude_own = p.exclude_own;
    if (p.has_classes || p.has_groups()) inputs.kappa_a = p.kappa_a.vector(), inputs.kappa_v = p.kappa_v.vector();
    inputs.scale = scale.vector(), inputs.teacher_scale = teacher_scale.vector();
    inputs.paired = p.paired, inputs.first_row = p.first_row, inputs.first_column = p.first_column;
  }
  duet_workspace workspace() {
    size_t bytes = 0;
    SUCCEED_CALL(duet_distillation_workspace(context, &inputs, &bytes));
    scratch = std::make_unique<Scratch>(bytes);
    return scratch->view();
  }
  Context context;
  Floats scale, teacher_scale;
  duet_distillation_inputs inputs = DUET_DISTILLATION_INPUTS_INIT;
  std::unique_ptr<Scratch> scratch;
};

using Losses = RowColumnLosses<DUET_DISTILLATION_STATISTICS>;

inline void forward(Call& call, Losses& out) {
  SUCCEED_CALL(
      duet_distillation_forward(call.context, &call.inputs,
                                sized<duet_distillation_outputs>({.row_loss = out.row.vector(),
                                                                  .column_loss = out.column.vector(),
                                                                  .row_statistics = out.row_statistics.matrix(),
                                                                  .column_statistics = out.column_statistics.matrix()}),
                                call.workspace()));
}

inline Losses forward(Problem& problem, int threads = 2) {
  Call call(problem, threads);
  Losses out(problem.n(), problem.m());
  forward(call, out);
  return out;
}

struct Gradients {
  Floats a, v, scale;
  bool same_bits(const Gradients& other) const {
    return a.same_bits(other.a) && v.same_bits(other.v) && scale.same_bits(other.scale);
  }
};

inline Gradients prefilled(const Problem& problem) {
  Draw draw(5);
  return {draw.normals(problem.n(), problem.d(), 0.01, 1), draw.normals(problem.m(), problem.d(), 0.01, 2),
          draw.normals(1, 1, 0.01)};
}

struct Weights {
  Floats row, column;
};

inline void backward(Call& call, Losses statistics, Weights weights, Gradients& into) {
  SUCCEED_CALL(duet_distillation_backward(
      call.context, &call.inputs,
      sized<duet_distillation_gradients>({.row_statistics = statistics.row_statistics.matrix(),
                                          .column_statistics = statistics.column_statistics.matrix(),
                                          .row_weight = weights.row.vector(),
                                          .column_weight = weights.column.vector(),
                                          .grad_a = into.a.matrix(),
                                          .grad_v = into.v.matrix(),
                                          .grad_scale = into.scale.vector()}),
      call.workspace()));
}

inline Gradients backward(Problem& problem, const Losses& statistics, const Weights& weights, int threads,
                          Gradients into) {
  Call call(problem, threads);
  backward(call, statistics, weights, into);
  return into;
}

inline Doubles sum(Doubles a, const Doubles& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

inline void check_losses(const Problem& problem, const Losses& out, double allowed) {
  const Doubles ones_n(static_cast<size_t>(problem.n()), 1), ones_m(static_cast<size_t>(problem.m()), 1);
  check_close(out.row.values(), problem.rows(ones_n).loss, allowed, "row_loss");
  check_close(out.column.values(), problem.columns(ones_m).loss, allowed, "column_loss");
}

inline reference::ScoreGradients expected_gradients(const Problem& p, const Weights& weights) {
  const Doubles grad_s = sum(p.rows(weights.row.values()).grad_s,
                             reference::transposed(p.columns(weights.column.values()).grad_s, p.m(), p.n()));
  return reference::score_gradients(p.a.values(), p.v.values(), p.n(), p.m(), p.d(), DUET_METRIC_INNER, p.scale,
                                    grad_s);
}

inline void check_gradients(const Problem& p, const Weights& weights, const Gradients& before, const Gradients& after,
                            double relative) {
  const auto expected = expected_gradients(p, weights);
  // Floor: where P = P' exactly (one candidate alone) nothing is left but rounding, in both directions: of P and P',
  // and of the log-sum-exps, float32 numbers of the size of the scales.
  const double weight = std::max(largest(weights.row.values()), largest(weights.column.values()));
  const double floor = 2 * weight * p.scale * (2e-7 + 6e-8 * (p.scale + p.teacher_scale)) + 1e-8;
  check_relative(after.a.values(), sum(before.a.values(), expected.a), relative, "grad_a", floor);
  check_relative(after.v.values(), sum(before.v.values(), expected.v), relative, "grad_v", floor);
  check_close(after.scale.values(), sum(before.scale.values(), {expected.scale}),
              relative * expected.scale_terms + floor, "grad_scale");
}

}  // namespace duet::test::distillation
