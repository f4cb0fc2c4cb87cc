// A problem of the contrastive losses for tests: its arrays, the calls on it, and what the reference expects of them.
#pragma once

#include <memory>
#include <optional>

#include "tests/reference/contrastive.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/label_table.h"
#include "tests/support/row_column_losses.h"
#include "tests/support/tolerance.h"

namespace duet::test::contrastive {
namespace reference = duet::reference;

// multi_positive without and with groups; the sigmoid loss against the identity and against soft agreement, likewise.
// Of the losses on a relation of pairs decoupled has own pairs alone, circle labels, the others labels and groups.
// related is infonce, or with labels multi_positive, of a relation.
enum class Variant {
  infonce,
  multi_positive,
  multi_positive_groups,
  sigmoid,
  sigmoid_soft,
  sigmoid_groups,
  sigmoid_soft_groups,
  decoupled,
  circle,
  ntxent,
  related
};
inline constexpr Variant kAllVariants[] = {Variant::infonce,
                                           Variant::multi_positive,
                                           Variant::multi_positive_groups,
                                           Variant::sigmoid,
                                           Variant::sigmoid_soft,
                                           Variant::sigmoid_groups,
                                           Variant::sigmoid_soft_groups,
                                           Variant::decoupled,
                                           Variant::circle,
                                           Variant::ntxent,
                                           Variant::related};
inline bool has_groups(Variant variant) {
  return variant == Variant::multi_positive_groups || variant == Variant::sigmoid_groups ||
         variant == Variant::sigmoid_soft_groups || variant == Variant::related;
}
inline constexpr Variant kRelationVariants[] = {Variant::decoupled, Variant::circle, Variant::ntxent, Variant::related};

inline bool has_relation(Variant variant) { return variant >= Variant::decoupled; }

inline Doubles times(Doubles x, double factor) {
  for (double& value : x) value *= factor;
  return x;
}
inline Doubles sum(Doubles a, const Doubles& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

struct Problem {
  Variant variant;
  Floats a, v, class_a, class_v, trust_a, trust_v;
  float scale, bias = -3;
  bool paired = true;
  int64_t first_row = 0, first_column = 0;
  duet_precision precision = DUET_PRECISION_TF32X3;
  std::optional<float> factor_a = {}, factor_v = {};  // of the gradients; none: null
  // Of losses on a relation of pairs; without rows: null.
  Ints labels_a = Ints(0, 1), labels_v = Ints(0, 1), group_a = Ints(0, 1), group_v = Ints(0, 1);
  bool exclude_own = false;
  float margin = 0;                                               // circle; 0: METHOD.md's
  Floats annotated_a = Floats(0, 1), annotated_v = Floats(0, 1);  // without rows: null
  LabelTable label_sets = {{}, 1};                                // of labels; empty: a label is a class

  bool is_sigmoid() const { return variant >= Variant::sigmoid && variant <= Variant::sigmoid_soft_groups; }
  bool is_soft() const { return variant == Variant::multi_positive || variant == Variant::multi_positive_groups; }
  bool has_classes() const {
    return is_soft() || variant == Variant::sigmoid_soft || variant == Variant::sigmoid_soft_groups;
  }
  int64_t n() const { return a.rows(); }
  int64_t m() const { return v.rows(); }
  int64_t d() const { return a.columns(); }
  Doubles scores() const { return scores(a.values(), v.values(), scale, bias); }
  Doubles scores(const Doubles& a, const Doubles& v, double scale, double bias) const {
    Doubles s = reference::scores(a, v, n(), m(), d(), DUET_METRIC_INNER, scale);
    if (is_sigmoid())
      for (double& value : s) value += bias;
    return s;
  }
  reference::Relation relation() const {
    return reference::relation_of_pairs(labels_a.values(), labels_v.values(), group_a.values(), group_v.values(),
                                        exclude_own, n(), m(), first_row, first_column, label_sets.sets);
  }
  reference::RowTerms rows(const Doubles& s, const Doubles& weight) const {
    if (variant == Variant::decoupled) return reference::decoupled_rows(s, relation(), weight, n(), m());
    if (variant == Variant::ntxent) return reference::ntxent_rows(s, relation(), weight, n(), m());
    if (variant == Variant::related) return reference::infonce_rows(s, relation(), weight, n(), m());
    if (variant == Variant::circle) {
      Doubles dots = s;
      for (double& dot : dots) dot /= scale;
      return reference::circle_rows(dots, dots, scale, margin == 0 ? 0.25 : margin, relation(), weight, n(), m());
    }
    const bool soft = has_classes();
    const Doubles nobody_a(soft ? 0 : static_cast<size_t>(n())), nobody_v(soft ? 0 : static_cast<size_t>(m())),
        ones(static_cast<size_t>(m()), 1);
    Doubles pos = reference::positives(soft ? class_a.values() : nobody_a, soft ? class_v.values() : nobody_v,
                                       is_soft() ? trust_v.values() : ones, n(), m(), is_soft() ? paired : !soft,
                                       first_row, first_column, annotated_a.values(), annotated_v.values());
    const reference::Relation pairs = relation();  // whose own pairs stand in pos, or they are left out
    const Doubles taken = sum(pairs.positive, pairs.negative);
    Doubles scores = s;
    for (int64_t i = 0; i < n() && m() > 0; ++i)
      for (int64_t j = 0; j < m(); ++j) {
        const auto k = static_cast<size_t>(i * m() + j);
        if (group_a.rows() > 0 && group_a.at(i) >= 0 && group_a.at(i) == group_v.at(j)) pos[k] = 1;
        if (taken[k] == 0) pos[k] = 0, scores[k] = -std::numeric_limits<double>::infinity();
      }
    if (is_sigmoid()) return reference::sigmoid_rows(s, pos, weight, n(), m(), taken);
    return reference::cross_entropy_rows(scores, pos, weight, n(), m());
  }
  reference::RowTerms columns(const Doubles& s, const Doubles& weight) const {
    if (is_sigmoid())
      return {Doubles(static_cast<size_t>(m())), Doubles(static_cast<size_t>(n() * m())),
              Doubles(static_cast<size_t>(n() * m()))};
    Problem other{variant, v, a, class_v, class_a, trust_v, trust_a, scale, bias, paired, first_column, first_row};
    other.labels_a = labels_v, other.labels_v = labels_a, other.group_a = group_v, other.group_v = group_a;
    other.exclude_own = exclude_own, other.margin = margin;
    other.annotated_a = annotated_v, other.annotated_v = annotated_a;
    other.label_sets = label_sets;
    return other.rows(reference::transposed(s, n(), m()), weight);
  }
  // A softmax term as METHOD.md has it; a sigmoid row adds up m terms that each move by at most the error of x, an
  // ntxent row one for each positive.
  double tolerance(double norms = 1) const {
    double terms = 1;
    if (is_sigmoid()) terms = static_cast<double>(std::max<int64_t>(1, m()));
    if (variant == Variant::circle) terms = 1 + 2 * norms;
    if (variant == Variant::ntxent) {
      const Doubles positive = relation().positive, turned = reference::transposed(positive, n(), m());
      for (int64_t i = 0; i < n(); ++i) terms = std::max(terms, reference::count_of(positive, i, m()));
      for (int64_t j = 0; j < m(); ++j) terms = std::max(terms, reference::count_of(turned, j, n()));
    }
    return softmax_tolerance(d(), scale, norms, precision) * terms;
  }
  // Of gradients, relative.
  double gradient_tolerance(double norms = 1) const {
    const double terms = variant == Variant::circle ? 2 * (1 + 2 * norms) : variant == Variant::ntxent ? 2 : 1;
    return softmax_tolerance(d(), scale, norms, precision) * terms;
  }
};

inline Problem draw_problem(Draw& draw, Variant variant, int64_t n, int64_t m, int64_t d, float scale,
                            int64_t classes = 4, int64_t padding = 0) {
  Problem out{variant,
              draw.unit_rows(n, d, padding),
              draw.unit_rows(m, d, padding),
              draw.distributions(n, classes),
              draw.distributions(m, classes),
              draw.choice(n, {1, 1, 0.6, 0}),
              draw.choice(m, {1, 1, 0.6, 0}),
              scale};
  if (variant == Variant::circle || variant == Variant::ntxent || variant == Variant::related)
    out.labels_a = draw.labels(n, classes, 0.2), out.labels_v = draw.labels(m, classes, 0.2);
  if (variant >= Variant::ntxent || variant == Variant::sigmoid_groups || variant == Variant::sigmoid_soft_groups ||
      variant == Variant::multi_positive_groups)
    out.group_a = draw.labels(n, n / 2 + 1, 0.3), out.group_v = draw.labels(m, n / 2 + 1, 0.3);
  return out;
}

struct Call {
  Call(Problem& p, int threads)
      : context(threads, p.precision),
        scale(1, 1),
        bias(1, 1),
        factor_a(1, 1),
        factor_v(1, 1),
        no_group_a(Ints(p.n(), 1).fill(-1)),
        no_group_v(Ints(p.m(), 1).fill(-1)) {
    scale.at(0) = p.scale, bias.at(0) = p.bias;
    if (p.factor_a) inputs.grad_factor_a = factor_a.fill(*p.factor_a).vector();
    if (p.factor_v) inputs.grad_factor_v = factor_v.fill(*p.factor_v).vector();
    inputs.kind = kind_of(p);
    inputs.a = p.a.matrix(), inputs.v = p.v.matrix(), inputs.scale = scale.vector();
    if (p.is_sigmoid()) inputs.bias = bias.vector();
    if (p.has_classes()) inputs.class_a = p.class_a.matrix(), inputs.class_v = p.class_v.matrix();
    if (p.is_soft()) inputs.trust_a = p.trust_a.vector(), inputs.trust_v = p.trust_v.vector();
    if (p.labels_a.rows() + p.labels_v.rows() > 0)
      inputs.labels_a = p.labels_a.vector(), inputs.labels_v = p.labels_v.vector();
    if (p.label_sets.words.rows() > 0) inputs.label_sets = p.label_sets.words.matrix();
    if (p.group_a.rows() + p.group_v.rows() > 0)
      inputs.group_a = p.group_a.vector(), inputs.group_v = p.group_v.vector();
    if (p.annotated_a.rows() + p.annotated_v.rows() > 0)
      inputs.annotated_a = p.annotated_a.vector(), inputs.annotated_v = p.annotated_v.vector();
    // InfoNCE is of a relation where one of its fields is given: groups that say nothing.
    if (inputs.kind == DUET_CONTRASTIVE_KIND_INFONCE && p.variant == Variant::related && !inputs.group_a.data &&
        !p.exclude_own)
      inputs.group_a = no_group_a.vector(), inputs.group_v = no_group_v.vector();
    inputs.exclude_own = p.exclude_own, inputs.margin = p.margin;
    inputs.paired = p.paired, inputs.first_row = p.first_row, inputs.first_column = p.first_column;
  }
  static duet_contrastive_kind kind_of(const Problem& p) {
    switch (p.variant) {
      case Variant::infonce: return DUET_CONTRASTIVE_KIND_INFONCE;
      case Variant::multi_positive:
      case Variant::multi_positive_groups: return DUET_CONTRASTIVE_KIND_MULTI_POSITIVE;
      case Variant::decoupled: return DUET_CONTRASTIVE_KIND_DECOUPLED;
      case Variant::circle: return DUET_CONTRASTIVE_KIND_CIRCLE;
      case Variant::ntxent: return DUET_CONTRASTIVE_KIND_NTXENT;
      case Variant::related:
        return p.labels_a.rows() + p.labels_v.rows() > 0 ? DUET_CONTRASTIVE_KIND_MULTI_POSITIVE
                                                         : DUET_CONTRASTIVE_KIND_INFONCE;
      default: return DUET_CONTRASTIVE_KIND_SIGMOID;
    }
  }
  duet_workspace workspace() {
    size_t bytes = 0;
    SUCCEED_CALL(duet_contrastive_workspace(context, &inputs, &bytes));
    scratch = std::make_unique<Scratch>(bytes);
    return scratch->view();
  }
  Context context;
  Floats scale, bias, factor_a, factor_v;
  Ints no_group_a, no_group_v;
  duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
  std::unique_ptr<Scratch> scratch;
};

using Losses = RowColumnLosses<DUET_CONTRASTIVE_STATISTICS>;

// The sigmoid loss gets null where it promises not to look.
inline void forward(Call& call, Losses& out) {
  const bool sigmoid = call.inputs.kind == DUET_CONTRASTIVE_KIND_SIGMOID;
  SUCCEED_CALL(duet_contrastive_forward(
      call.context, &call.inputs,
      sized<duet_contrastive_outputs>({.row_loss = out.row.vector(),
                                       .column_loss = sigmoid ? duet_vector{} : out.column.vector(),
                                       .row_statistics = sigmoid ? duet_matrix{} : out.row_statistics.matrix(),
                                       .column_statistics = sigmoid ? duet_matrix{} : out.column_statistics.matrix()}),
      call.workspace()));
}

inline Losses forward(Problem& problem, int threads = 2) {
  Call call(problem, threads);
  Losses out(problem.n(), problem.m());
  forward(call, out);
  return out;
}

struct Gradients {
  Floats a, v, scale, bias;
  bool same_bits(const Gradients& o) const {
    return a.same_bits(o.a) && v.same_bits(o.v) && scale.same_bits(o.scale) && bias.same_bits(o.bias);
  }
};

inline Gradients prefilled(const Problem& problem) {
  Draw draw(5);
  return {draw.normals(problem.n(), problem.d(), 0.01, 1), draw.normals(problem.m(), problem.d(), 0.01, 2),
          draw.normals(1, 1, 0.01), draw.normals(1, 1, 0.01)};
}

struct Weights {
  Floats row, column;
};

inline Gradients backward(Problem& problem, Losses statistics, Weights weights, int threads, Gradients into) {
  Call call(problem, threads);
  const bool sigmoid = problem.is_sigmoid();
  SUCCEED_CALL(duet_contrastive_backward(
      call.context, &call.inputs,
      sized<duet_contrastive_gradients>(
          {.row_statistics = sigmoid ? duet_matrix{} : statistics.row_statistics.matrix(),
           .column_statistics = sigmoid ? duet_matrix{} : statistics.column_statistics.matrix(),
           .row_weight = weights.row.vector(),
           .column_weight = sigmoid ? duet_vector{} : weights.column.vector(),
           .grad_a = into.a.matrix(),
           .grad_v = into.v.matrix(),
           .grad_scale = into.scale.vector(),
           .grad_bias = sigmoid ? into.bias.vector() : duet_vector{}}),
      call.workspace()));
  return into;
}

inline void check_losses(const Problem& p, const Losses& out, double allowed) {
  const Doubles ones_n(static_cast<size_t>(p.n()), 1), ones_m(static_cast<size_t>(p.m()), 1), s = p.scores();
  check_close(out.row.values(), p.rows(s, ones_n).loss, allowed, "row_loss");
  if (!p.is_sigmoid()) check_close(out.column.values(), p.columns(s, ones_m).loss, allowed, "column_loss");
}

struct Expected {
  reference::ScoreGradients gradients;
  double bias = 0, bias_terms = 0;
};

inline Expected expected_gradients(const Problem& p, const Weights& weights) {
  const Doubles s = p.scores();
  const reference::RowTerms rows = p.rows(s, weights.row.values()), columns = p.columns(s, weights.column.values());
  const Doubles grad_s = sum(rows.grad_s, reference::transposed(columns.grad_s, p.m(), p.n()));
  Expected out{
      reference::score_gradients(p.a.values(), p.v.values(), p.n(), p.m(), p.d(), DUET_METRIC_INNER, p.scale, grad_s)};
  if (!rows.by_scale.empty()) {
    out.gradients.scale = out.gradients.scale_terms = 0;
    for (const Doubles& terms : {rows.by_scale, columns.by_scale})
      for (const double term : terms) out.gradients.scale += term, out.gradients.scale_terms += std::abs(term);
  }
  for (const double g : grad_s) out.bias += g, out.bias_terms += std::abs(g);
  return out;
}

inline void check_gradients(const Problem& p, const Weights& weights, const Gradients& before, const Gradients& after,
                            double norms = 1) {
  const Expected expected = expected_gradients(p, weights);
  const double factor_a = p.factor_a.value_or(1), factor_v = p.factor_v.value_or(1);
  const double relative = p.gradient_tolerance(norms);
  // Floor: where P equals its target exactly there is nothing but the rounding of their difference, an ulp of the
  // weight, times the scale.
  const double floor =
      2e-7 * p.scale * norms * std::max(largest(weights.row.values()), largest(weights.column.values())) + 1e-8;
  check_relative(after.a.values(), sum(before.a.values(), times(expected.gradients.a, factor_a)), relative, "grad_a",
                 std::max(1.0, factor_a) * floor);
  check_relative(after.v.values(), sum(before.v.values(), times(expected.gradients.v, factor_v)), relative, "grad_v",
                 std::max(1.0, factor_v) * floor);
  check_close(after.scale.values(), sum(before.scale.values(), {expected.gradients.scale}),
              relative * expected.gradients.scale_terms + floor, "grad_scale");
  if (p.is_sigmoid())
    check_close(after.bias.values(), sum(before.bias.values(), {expected.bias}), relative * expected.bias_terms + floor,
                "grad_bias");
  else
    CHECK(after.bias.same_bits(before.bias));
}

inline Ints numbers_of(const std::vector<int32_t>& values) {
  Ints out(static_cast<int64_t>(values.size()), 1);
  for (size_t i = 0; i < values.size(); ++i) out.at(static_cast<int64_t>(i)) = values[i];
  return out;
}

// Losses, gradients and their bits on other threads.
inline Losses check_problem(Problem& problem, double norms = 1) {
  Draw draw(70);
  const int64_t n = problem.n(), m = problem.m();
  const Losses first = forward(problem, 1);
  check_losses(problem, first, problem.tolerance(norms));
  const Weights weights{draw.choice(n, {1, 0.3, 0, -0.5}), draw.choice(m, {1, 0.3, 0, -0.5})};
  const Gradients before = prefilled(problem), gradients = backward(problem, first, weights, 1, before);
  check_gradients(problem, weights, before, gradients, norms);
  for (const int threads : other_thread_counts()) {
    CHECK(forward(problem, threads).same_bits(first));
    CHECK(backward(problem, first, weights, threads, before).same_bits(gradients));
  }
  return first;
}

inline Gradients ones_backward(Problem& problem, const Losses& losses) {
  return backward(problem, losses, {Floats(problem.n(), 1).fill(1), Floats(problem.m(), 1).fill(1)}, 2,
                  prefilled(problem));
}

}  // namespace duet::test::contrastive
