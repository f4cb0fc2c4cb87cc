// contrastive of a relation of pairs: decoupled, circle, ntxent (METHOD.md 5.6 to 5.8), infonce with groups or without
// own pairs, multi_positive with labels (5.3).
#include "tests/backends/distances.h"
#include "tests/backends/operations.h"
#include "tests/backends/softmax_terms.h"
#include "tests/support/label_table.h"

namespace duet::test::backends {
namespace {

constexpr double kCircleMargin = 0.25;  // where the call gives 0

// Numbers of both sides, or of neither.
struct Numbers {
  Ints &a, &v;
  bool given;

  Numbers(Case& c, int64_t n, int64_t m, double probability)
      : a(c.labels(n, 4)), v(c.labels(m, 4)), given(c.coin(probability)) {}
  Doubles of(const Ints& side) const { return given ? side.values() : Doubles(); }
};

struct Loss {
  duet_contrastive_kind kind;
  double scale, margin;

  reference::RowTerms rows(const Doubles& dots, const reference::Relation& relation, const Doubles& weight, int64_t n,
                           int64_t m) const {
    if (kind == DUET_CONTRASTIVE_KIND_CIRCLE)
      return reference::circle_rows(dots, dots, scale, margin, relation, weight, n, m);
    Doubles s = dots;
    for (double& score : s) score *= scale;
    switch (kind) {
      case DUET_CONTRASTIVE_KIND_NTXENT: return reference::ntxent_rows(s, relation, weight, n, m);
      case DUET_CONTRASTIVE_KIND_DECOUPLED: return reference::decoupled_rows(s, relation, weight, n, m);
      default: return reference::infonce_rows(s, relation, weight, n, m);
    }
  }
  // A bound of the exponents' sizes, whose rounding is of float32.
  double exponent(double dot) const {
    const double size = std::abs(dot);
    return kind == DUET_CONTRASTIVE_KIND_CIRCLE ? scale * (1 + margin + size) * (1 + margin + size) : scale * size;
  }
};

// What float32 makes of exponents of these sizes: of a row's loss, once for each positive, of every slope, and of what
// circle adds to the gradient by scale.
void add_exponent_rounding(const Values& value, const Loss& loss, const Doubles& dots, const reference::Relation& pairs,
                           const Doubles& weight, reference::RowTerms& terms, int64_t n, int64_t m) {
  for (int64_t i = 0; i < n; ++i) {
    double largest = 1;
    for (int64_t j = 0; j < m; ++j) {
      const double exponent = loss.exponent(dots[static_cast<size_t>(i * m + j)]);
      largest = std::isnan(exponent) ? kNaN : std::max(exponent, largest);
      if (std::isnan(largest)) break;
    }
    double& of_row = terms.loss[static_cast<size_t>(i)];
    // METHOD.md 4: past it, and of features that are not finite, nothing is said.
    if (!(largest <= kLargestScore)) {
      of_row = kNaN;
      std::fill_n(terms.grad_s.begin() + i * m, m, kNaN);
      if (!terms.by_scale.empty()) std::fill_n(terms.by_scale.begin() + i * m, m, kNaN);
      continue;
    }
    of_row = value.moved(of_row, largest * std::max(1.0, reference::count_of(pairs.positive, i, m)));
    for (int64_t j = 0; j < m; ++j) {
      const size_t k = static_cast<size_t>(i * m + j);
      const double size = terms.parts[k] * largest + std::abs(weight[static_cast<size_t>(i)]) * kLeast;
      terms.grad_s[k] = value.moved(terms.grad_s[k], size);
      if (!terms.by_scale.empty())
        terms.by_scale[k] = value.moved(terms.by_scale[k], std::abs(terms.by_scale[k]) * largest);
    }
  }
}

}  // namespace

void contrastive_relation(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent();
  Floats &a = c.operands(n, d), &v = c.operands(m, d), &scale = c.constant(c.one_of({0.5f, 1.0f, 3.7f, 10.0f, 100.0f}));
  Floats &weight_row = c.weights(n), &weight_column = c.weights(m);
  Numbers labels(c, n, m, 0.6), groups(c, n, m, 0.3);
  const bool rows = c.coin(0.8), columns = c.coin(0.8);
  duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
  inputs.kind = c.one_of({DUET_CONTRASTIVE_KIND_DECOUPLED, DUET_CONTRASTIVE_KIND_CIRCLE, DUET_CONTRASTIVE_KIND_NTXENT,
                          DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE});
  inputs.exclude_own = c.coin(0.3);
  if (inputs.kind == DUET_CONTRASTIVE_KIND_INFONCE) labels.given = false, groups.given |= inputs.exclude_own == 0;
  if (inputs.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE) labels.given = true;
  inputs.a = c.features(a), inputs.v = c.features(v), inputs.scale = scale.vector();
  if (labels.given) inputs.labels_a = labels.a.vector(), inputs.labels_v = labels.v.vector();
  // Three labels of the four: the last is alike to itself alone.
  LabelTable table = draw_label_table(c.draw, 3, c.one_of<int64_t>({2, 7, 40}), 0.2, c.padding());
  const bool sets = labels.given && c.coin(0.4);
  if (sets)
    inputs.label_sets = table.words.matrix();
  else
    table.sets = {};
  if (groups.given) inputs.group_a = groups.a.vector(), inputs.group_v = groups.v.vector();
  if (inputs.kind == DUET_CONTRASTIVE_KIND_CIRCLE) inputs.margin = c.one_of({0.0f, 0.4f});
  inputs.first_row = c.one_of<int64_t>({0, 0, 5}), inputs.first_column = c.one_of<int64_t>({0, 0, 3, 100});
  c.describe("scale", scale.at(0));
  c.describe("kind", static_cast<int>(inputs.kind));
  c.describe("labels", labels.given);
  c.describe("groups", groups.given);
  c.describe("label_sets", sets);
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_contrastive_workspace(run.context, &inputs, bytes); });
    const duet_vector row_loss = run.output("row_loss", n), column_loss = run.output("column_loss", m);
    const duet_matrix row_statistics = run.output("row_statistics", n, DUET_CONTRASTIVE_STATISTICS),
                      column_statistics = run.output("column_statistics", m, DUET_CONTRASTIVE_STATISTICS);
    run.call(duet_contrastive_forward(run.context, &inputs,
                                      sized<duet_contrastive_outputs>({.row_loss = row_loss,
                                                                       .column_loss = column_loss,
                                                                       .row_statistics = row_statistics,
                                                                       .column_statistics = column_statistics}),
                                      scratch));
    const duet_matrix grad_a = run.gradient("grad_a", n, d), grad_v = run.gradient("grad_v", m, d);
    run.call(duet_contrastive_backward(
        run.context, &inputs,
        sized<duet_contrastive_gradients>({.row_statistics = row_statistics,
                                           .column_statistics = column_statistics,
                                           .row_weight = rows ? weight_row.vector() : duet_vector{},
                                           .column_weight = columns ? weight_column.vector() : duet_vector{},
                                           .grad_a = grad_a,
                                           .grad_v = grad_v,
                                           .grad_scale = run.gradient("grad_scale", 1)}),
        scratch));
  });
  const reference::Relation relation =
      reference::relation_of_pairs(labels.of(labels.a), labels.of(labels.v), groups.of(groups.a), groups.of(groups.v),
                                   inputs.exclude_own != 0, n, m, inputs.first_row, inputs.first_column, table.sets);
  const reference::Relation turned{transposed(relation.positive, n, m), transposed(relation.negative, n, m)};
  const Loss loss{inputs.kind, scale.at(0), inputs.margin == 0 ? kCircleMargin : inputs.margin};
  const Pairs pairs(c, a, v, DUET_METRIC_INNER);
  c.expect(
      [&](const Values& value) {
        const Doubles dots = pairs.scores(value, 1), of_columns = transposed(dots, n, m);
        Doubles w = value(weight_row), wc = value(weight_column);
        if (!rows) w.assign(w.size(), 0);
        if (!columns) wc.assign(wc.size(), 0);
        reference::RowTerms row = loss.rows(dots, relation, w, n, m), column = loss.rows(of_columns, turned, wc, m, n);
        add_exponent_rounding(value, loss, dots, relation, w, row, n, m);
        add_exponent_rounding(value, loss, of_columns, turned, wc, column, m, n);
        const Gradients grad = gradients_of(pairs, value, loss.scale, sum(row.grad_s, transposed(column.grad_s, m, n)));
        double of_scale = grad.scale[0];
        if (inputs.kind == DUET_CONTRASTIVE_KIND_CIRCLE) {
          of_scale = 0;
          for (const double part : row.by_scale) of_scale += part;
          for (const double part : column.by_scale) of_scale += part;
        }
        // The loss of decoupled is less than nothing where positives are nearer than all negatives.
        const double least = inputs.kind == DUET_CONTRASTIVE_KIND_DECOUPLED ? -INFINITY : 0;
        // The statistics are the backends' own: backward reads them.
        const auto own = [](const char* name, int64_t count) {
          const auto size = static_cast<size_t>(count * DUET_CONTRASTIVE_STATISTICS);
          return Expected{name, Doubles(size), 0, Doubles(size, INFINITY)};
        };
        return joined(
            {{"row_loss", row.loss, kLossFloor, {}, least}, {"column_loss", column.loss, kLossFloor, {}, least}},
            {own("row_statistics", n),
             own("column_statistics", m),
             {"grad_a", grad.a, 0, {}},
             {"grad_v", grad.v, 0, {}},
             {"grad_scale", {of_scale}, 0, {}}});
      },
      pairs.error());
}

}  // namespace duet::test::backends
