// contrastive, distillation, cross_entropy: losses that stand on a softmax over pairs or classes.
#include <numeric>

#include "tests/backends/distances.h"
#include "tests/backends/operations.h"
#include "tests/backends/softmax_terms.h"
#include "tests/reference/cross_entropy.h"
#include "tests/reference/distillation.h"
#include "tests/support/annotated_rows.h"

namespace duet::test::backends {
namespace {

// Rows' and columns' class distributions and trust; in some cases rows are annotated.
struct Classes {
  Floats &a, &v, &trust_a, &trust_v;
  bool has_trust_a, has_trust_v, annotated;
  Floats annotated_a, annotated_v;
  Classes(Case& c, int64_t n, int64_t m, int64_t classes)
      : a(c.keep(c.draw.distributions(n, classes))),
        v(c.keep(c.draw.distributions(m, classes))),
        trust_a(c.keep(c.draw.choice(n, {1, 1, 0.6, 0}))),
        trust_v(c.keep(c.draw.choice(m, {1, 1, 0.6, 0}))),
        has_trust_a(c.coin(0.7)),
        has_trust_v(c.coin(0.7)),
        annotated(c.coin(0.3)),
        annotated_a(n, 1),
        annotated_v(m, 1) {
    c.describe("annotated", annotated);
    if (annotated) annotated_a = annotate(c.draw, a, 0.6), annotated_v = annotate(c.draw, v, 0.6);
  }
  Doubles flags(const Floats& of) const { return annotated ? of.values() : Doubles(); }
  Doubles trust_of_rows() const {
    return has_trust_a ? trust_a.values() : Doubles(static_cast<size_t>(trust_a.rows()), 1);
  }
  Doubles trust_of_columns() const {
    return has_trust_v ? trust_v.values() : Doubles(static_cast<size_t>(trust_v.rows()), 1);
  }
  template <class Inputs>
  void give(Inputs& inputs, bool trust = true) {
    inputs.class_a = a.matrix(), inputs.class_v = v.matrix();
    if (annotated) inputs.annotated_a = annotated_a.vector(), inputs.annotated_v = annotated_v.vector();
    if (!trust) return;
    if (has_trust_a) inputs.trust_a = trust_a.vector();
    if (has_trust_v) inputs.trust_v = trust_v.vector();
  }
};

Doubles row_sums(const Doubles& x, int64_t n, int64_t m) {
  Doubles sums(static_cast<size_t>(n));
  for (int64_t k = 0; k < n * m; ++k) sums[static_cast<size_t>(k / m)] += x[static_cast<size_t>(k)];
  return sums;
}

// Vectors of one length side by side.
Doubles beside(std::initializer_list<Doubles> columns) {
  Doubles out;
  for (size_t i = 0; i < columns.begin()->size(); ++i)
    for (const Doubles& column : columns) out.push_back(column[i]);
  return out;
}

// What a factor leaves of a gradient: of 0 nothing, whatever the gradient is.
Doubles times(Doubles x, double factor) {
  for (double& value : x) value = factor == 0 ? 0 : factor * value;
  return x;
}

}  // namespace

void contrastive(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(), classes = c.draw.integer(1, 6);
  Floats &a = c.operands(n, d), &v = c.operands(m, d), &scale = c.constant(draw_scale(c)),
         &bias = c.constant(c.one_of({0.0, -10.0, 3.0}));
  Floats &weight_row = c.weights(n), &weight_column = c.weights(m);
  Classes agreement(c, n, m, classes);
  const bool rows = c.coin(0.8), columns = c.coin(0.8);
  duet_contrastive_inputs inputs = DUET_CONTRASTIVE_INPUTS_INIT;
  inputs.kind =
      c.one_of({DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_MULTI_POSITIVE, DUET_CONTRASTIVE_KIND_SIGMOID});
  inputs.a = c.features(a), inputs.v = c.features(v), inputs.scale = scale.vector();
  c.describe("scale", scale.at(0));
  c.describe("kind", static_cast<int>(inputs.kind));
  const bool sigmoid = inputs.kind == DUET_CONTRASTIVE_KIND_SIGMOID,
             soft = inputs.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE || (sigmoid && c.coin());
  if (soft) agreement.give(inputs, !sigmoid);
  if (sigmoid) inputs.bias = bias.vector();
  // infonce's and those of labels: relation.cpp.
  Ints &group_a = c.labels(n, 4), &group_v = c.labels(m, 4);
  const bool multi_positive = inputs.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE,
             groups = (sigmoid || multi_positive) && c.coin(0.3);
  if (groups) inputs.group_a = group_a.vector(), inputs.group_v = group_v.vector();
  inputs.exclude_own = (sigmoid || multi_positive) && c.coin(0.3);
  c.describe("groups", groups);
  c.describe("exclude_own", inputs.exclude_own);
  inputs.paired = multi_positive && c.coin();
  inputs.first_row = c.one_of<int64_t>({0, 0, 5}), inputs.first_column = c.one_of<int64_t>({0, 0, 3, 100});
  // Of each side's gradient: null, or a factor whose products are exact.
  const auto draw_factor = [&](const char* name, duet_const_vector& given) {
    const double factor = c.one_of({-1.0, 0.0, 1.0, 0.25});
    if (factor < 0) return 1.0;
    given = c.constant(factor).vector();
    c.describe(name, factor);
    return factor;
  };
  const double factor_a = draw_factor("grad_factor_a", inputs.grad_factor_a),
               factor_v = draw_factor("grad_factor_v", inputs.grad_factor_v);
  const bool excluded = multi_positive && inputs.exclude_own;
  const OwnPairs own{(inputs.paired && !excluded) || inputs.kind == DUET_CONTRASTIVE_KIND_INFONCE,
                     inputs.first_row - inputs.first_column, excluded};
  const OwnPairs own_turned = own.turned();
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_contrastive_workspace(run.context, &inputs, bytes); });
    const duet_vector row_loss = run.output("row_loss", n);
    duet_vector column_loss = {};
    duet_matrix row_statistics = {}, column_statistics = {};
    if (!sigmoid) {
      column_loss = run.output("column_loss", m);
      row_statistics = run.output("row_statistics", n, DUET_CONTRASTIVE_STATISTICS);
      column_statistics = run.output("column_statistics", m, DUET_CONTRASTIVE_STATISTICS);
    }
    run.call(duet_contrastive_forward(run.context, &inputs,
                                      sized<duet_contrastive_outputs>({.row_loss = row_loss,
                                                                       .column_loss = column_loss,
                                                                       .row_statistics = row_statistics,
                                                                       .column_statistics = column_statistics}),
                                      scratch));
    const duet_matrix grad_a = run.gradient("grad_a", n, d), grad_v = run.gradient("grad_v", m, d);
    const duet_vector grad_scale = run.gradient("grad_scale", 1),
                      grad_bias = sigmoid ? run.gradient("grad_bias", 1) : duet_vector{};
    run.call(
        duet_contrastive_backward(run.context, &inputs,
                                  sized<duet_contrastive_gradients>(
                                      {.row_statistics = row_statistics,
                                       .column_statistics = column_statistics,
                                       .row_weight = rows ? weight_row.vector() : duet_vector{},
                                       .column_weight = columns && !sigmoid ? weight_column.vector() : duet_vector{},
                                       .grad_a = grad_a,
                                       .grad_v = grad_v,
                                       .grad_scale = grad_scale,
                                       .grad_bias = grad_bias}),
                                  scratch));
  });
  const Pairs pairs(c, a, v, DUET_METRIC_INNER);
  const Doubles errors = score_errors(pairs, scale.at(0)), errors_turned = transposed(errors, n, m);
  c.expect(
      [&](const Values& value) {
        const double factor = scale.at(0);
        Doubles s = with_excluded(pairs.scores(value, factor), own, n, m, -INFINITY), w = value(weight_row),
                wc = value(weight_column);
        if (!rows) w.assign(w.size(), 0);
        if (!columns) wc.assign(wc.size(), 0);
        Doubles pos(s.size()), pos_columns(s.size());
        if (soft) {
          const Doubles ones_n(static_cast<size_t>(n), 1), ones_m(static_cast<size_t>(m), 1);
          const Doubles class_a = value(agreement.a), class_v = value(agreement.v),
                        flags_a = agreement.flags(agreement.annotated_a),
                        flags_v = agreement.flags(agreement.annotated_v);
          pos = reference::positives(class_a, class_v, sigmoid ? ones_m : agreement.trust_of_columns(), n, m,
                                     own.paired, inputs.first_row, inputs.first_column, flags_a, flags_v);
          pos_columns = reference::positives(class_v, class_a, sigmoid ? ones_n : agreement.trust_of_rows(), m, n,
                                             own.paired, inputs.first_column, inputs.first_row, flags_v, flags_a);
        } else {
          for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < m; ++j)
              pos[static_cast<size_t>(i * m + j)] = pos_columns[static_cast<size_t>(j * n + i)] =
                  i + inputs.first_row == j + inputs.first_column;
        }
        for (int64_t i = 0; i < n && groups; ++i)
          for (int64_t j = 0; j < m; ++j)
            if (group_a.at(i) >= 0 && group_a.at(i) == group_v.at(j))
              pos[static_cast<size_t>(i * m + j)] = pos_columns[static_cast<size_t>(j * n + i)] = 1;
        pos = with_excluded(pos, own, n, m, 0), pos_columns = with_excluded(pos_columns, own_turned, m, n, 0);
        if (sigmoid) {
          const reference::Relation relation = reference::relation_of_pairs(
              {}, {}, groups ? group_a.values() : Doubles(), groups ? group_v.values() : Doubles(),
              inputs.exclude_own != 0, n, m, inputs.first_row, inputs.first_column);
          const Doubles taken = sum(relation.positive, relation.negative);
          for (double& x : s) x = value.moved(x + bias.at(0), std::abs(x) + std::abs(bias.at(0)));
          reference::RowTerms terms = reference::sigmoid_rows(s, pos, w, n, m, taken);
          double of_bias = 0;
          for (size_t k = 0; k < s.size(); ++k) {
            double& g = terms.grad_s[k];
            const double upstream = w[k / static_cast<size_t>(m)];
            if (taken[k] == 0) continue;
            g = upstream == 0 && std::isfinite(s[k])
                    ? 0
                    : value.moved(g, std::abs(upstream) * (1 / (1 + std::exp(-s[k])) + pos[k]));
            of_bias += g;
          }
          // What lies below float32's smallest normal number has no digits (METHOD.md 5): a sigmoid, and its product
          // with the upstream weight.
          Doubles lost(s.size());
          for (size_t k = 0; k < lost.size(); ++k)
            lost[k] = 1.2e-38 * std::max(1.0, std::abs(w[k / static_cast<size_t>(m)]));
          Gradients grad = gradients_of(pairs, value, factor, terms.grad_s);
          GradientFloors off = gradient_floors(pairs, std::abs(factor), lost);
          grad.a = times(grad.a, factor_a), grad.v = times(grad.v, factor_v), off.a = times(off.a, factor_a),
          off.v = times(off.v, factor_v);
          return std::vector<Expected>{{"row_loss", terms.loss, kLossFloor},
                                       {"grad_a", grad.a, 0, off.a},
                                       {"grad_v", grad.v, 0, off.v},
                                       {"grad_scale", grad.scale, 0, off.scale},
                                       {"grad_bias", {of_bias}, 0, {std::accumulate(lost.begin(), lost.end(), 0.0)}}};
        }
        const Doubles st = transposed(s, n, m);
        reference::RowTerms row = reference::cross_entropy_rows(s, pos, w, n, m),
                            column = reference::cross_entropy_rows(st, pos_columns, wc, m, n);
        RowFloors row_off{Doubles(s.size()), {}, {}}, column_off = row_off;
        const auto round = [&](reference::RowTerms& terms, const Doubles& scores, const Doubles& of_scores,
                               const Doubles& weight, OwnPairs pair, int64_t count, int64_t others, RowFloors& off) {
          if (value.exact())
            off = row_floors(parts_of(terms, weight, scores, pair, count, others), weight, scores, of_scores,
                             pairs.error(), pair, count, others);
          add_rounding(value, terms, scores, of_scores, weight, count, others);
          terms.grad_s = with_excluded(terms.grad_s, pair, count, others, 0);
        };
        round(row, s, errors, w, own, n, m, row_off);
        round(column, st, errors_turned, wc, own_turned, m, n, column_off);
        const auto statistics = [](const Doubles& scores, const Doubles& positive, OwnPairs pair, int64_t count,
                                   int64_t others) {
          return beside({reference::log_sum_exp_rows(scores, count, others), row_sums(positive, count, others),
                         log_odds(scores, pair, count, others)});
        };
        const auto floors = [](const RowFloors& off) { return beside({off.sums, Doubles(off.sums.size()), off.odds}); };
        Gradients grad = gradients_of(pairs, value, factor, sum(row.grad_s, transposed(column.grad_s, m, n)));
        GradientFloors off = gradient_floors(pairs, factor, sum(row_off.terms, transposed(column_off.terms, m, n)));
        grad.a = times(grad.a, factor_a), grad.v = times(grad.v, factor_v), off.a = times(off.a, factor_a),
        off.v = times(off.v, factor_v);
        return joined(
            {{"row_loss", row.loss, kLossFloor, row_off.sums, 0},
             {"column_loss", column.loss, kLossFloor, column_off.sums, 0},
             {"row_statistics", statistics(s, pos, own, n, m), kLossFloor, floors(row_off)},
             {"column_statistics", statistics(st, pos_columns, own_turned, m, n), kLossFloor, floors(column_off)}},
            expected_gradients(grad, off));
      },
      pairs.error());
}

void distillation(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(), teacher_d = c.extent(), classes = c.draw.integer(1, 6);
  Floats &a = c.operands(n, d), &v = c.operands(m, d), &teacher_a = c.operands(n, teacher_d),
         &teacher_v = c.operands(m, teacher_d);
  Floats &scale = c.constant(draw_scale(c)), &teacher_scale = c.constant(c.coin(0.1) ? 0 : draw_scale(c)),
         &weight_row = c.weights(n), &weight_column = c.weights(m);
  Floats &kappa_a = c.keep(c.draw.choice(n, {1, 0.5, 0})), &kappa_v = c.keep(c.draw.choice(m, {1, 0.5, 0}));
  Classes agreement(c, n, m, classes);
  Ints &group_a = c.labels(n, 4), &group_v = c.labels(m, 4);
  const bool rows = c.coin(0.8), columns = c.coin(0.8), soft = c.coin(0.8), grouped = c.coin(0.3),
             agrees = soft || grouped, has_kappa_a = agrees && c.coin(0.8), has_kappa_v = agrees && c.coin(0.8);
  duet_distillation_inputs inputs = DUET_DISTILLATION_INPUTS_INIT;
  inputs.student_a = c.features(a), inputs.student_v = c.features(v), inputs.teacher_a = c.features(teacher_a),
  inputs.teacher_v = c.features(teacher_v);
  inputs.scale = scale.vector(), inputs.teacher_scale = teacher_scale.vector();
  c.describe("scale", scale.at(0));
  c.describe("teacher_scale", teacher_scale.at(0));
  if (soft) agreement.give(inputs);
  if (has_kappa_a) inputs.kappa_a = kappa_a.vector();
  if (has_kappa_v) inputs.kappa_v = kappa_v.vector();
  if (grouped) inputs.group_a = group_a.vector(), inputs.group_v = group_v.vector();
  inputs.paired = agrees && c.coin();
  inputs.exclude_own = c.coin(0.3);
  inputs.first_row = c.one_of<int64_t>({0, 0, 5}), inputs.first_column = c.one_of<int64_t>({0, 0, 3, 100});
  c.describe("classes", soft);
  c.describe("grouped", grouped);
  c.describe("exclude_own", inputs.exclude_own);
  const OwnPairs own{inputs.paired && !inputs.exclude_own, inputs.first_row - inputs.first_column,
                     inputs.exclude_own != 0},
      own_turned = own.turned();
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_distillation_workspace(run.context, &inputs, bytes); });
    const duet_vector row_loss = run.output("row_loss", n), column_loss = run.output("column_loss", m);
    const duet_matrix row_statistics = run.output("row_statistics", n, DUET_DISTILLATION_STATISTICS);
    const duet_matrix column_statistics = run.output("column_statistics", m, DUET_DISTILLATION_STATISTICS);
    run.call(duet_distillation_forward(run.context, &inputs,
                                       sized<duet_distillation_outputs>({.row_loss = row_loss,
                                                                         .column_loss = column_loss,
                                                                         .row_statistics = row_statistics,
                                                                         .column_statistics = column_statistics}),
                                       scratch));
    const duet_matrix grad_a = run.gradient("grad_a", n, d), grad_v = run.gradient("grad_v", m, d);
    run.call(duet_distillation_backward(
        run.context, &inputs,
        sized<duet_distillation_gradients>({.row_statistics = row_statistics,
                                            .column_statistics = column_statistics,
                                            .row_weight = rows ? weight_row.vector() : duet_vector{},
                                            .column_weight = columns ? weight_column.vector() : duet_vector{},
                                            .grad_a = grad_a,
                                            .grad_v = grad_v,
                                            .grad_scale = run.gradient("grad_scale", 1)}),
        scratch));
  });
  const Pairs pairs(c, a, v, DUET_METRIC_INNER), teacher_pairs(c, teacher_a, teacher_v, DUET_METRIC_INNER);
  const Doubles errors = score_errors(pairs, scale.at(0)), errors_turned = transposed(errors, n, m);
  const Doubles teacher_errors = score_errors(teacher_pairs, teacher_scale.at(0)),
                teacher_errors_turned = transposed(teacher_errors, n, m);
  c.expect(
      [&](const Values& value) {
        const double factor = scale.at(0);
        const Doubles s = with_excluded(pairs.scores(value, factor), own, n, m, -INFINITY),
                      t = with_excluded(teacher_pairs.scores(value, teacher_scale.at(0)), own, n, m, -INFINITY);
        const Doubles st = transposed(s, n, m), tt = transposed(t, n, m);
        Doubles w = value(weight_row), wc = value(weight_column);
        if (!rows) w.assign(w.size(), 0);
        if (!columns) wc.assign(wc.size(), 0);
        Doubles pos(s.size()), pos_columns(s.size());
        if (agrees) {
          const Doubles class_a = soft ? value(agreement.a) : Doubles(),
                        class_v = soft ? value(agreement.v) : Doubles(),
                        flags_a = soft ? agreement.flags(agreement.annotated_a) : Doubles(),
                        flags_v = soft ? agreement.flags(agreement.annotated_v) : Doubles();
          pos = reference::positives(class_a, class_v, agreement.trust_of_columns(), n, m, own.paired, inputs.first_row,
                                     inputs.first_column, flags_a, flags_v);
          pos_columns = reference::positives(class_v, class_a, agreement.trust_of_rows(), m, n, own.paired,
                                             inputs.first_column, inputs.first_row, flags_v, flags_a);
          for (int64_t i = 0; grouped && i < n; ++i)
            for (int64_t j = 0; j < m; ++j)
              if (group_a.at(i) >= 0 && group_a.at(i) == group_v.at(j))
                pos[static_cast<size_t>(i * m + j)] = pos_columns[static_cast<size_t>(j * n + i)] = 1;
          pos = with_excluded(pos, own, n, m, 0), pos_columns = with_excluded(pos_columns, own_turned, m, n, 0);
        }
        const Doubles kappa = has_kappa_a ? kappa_a.values() : Doubles(static_cast<size_t>(n)),
                      kappa_columns = has_kappa_v ? kappa_v.values() : Doubles(static_cast<size_t>(m));
        RowFloors of_rows{Doubles(s.size()), {}, {}}, of_columns = of_rows, teacher_of_rows = of_rows,
                                                      teacher_of_columns = of_rows;
        Doubles row_loss_off(static_cast<size_t>(n)), column_loss_off(static_cast<size_t>(m));
        const auto terms = [&](const Doubles& student, const Doubles& of_scores, const Doubles& teacher,
                               const Doubles& of_teacher, const Doubles& positive, const Doubles& k,
                               const Doubles& weight, OwnPairs pair, int64_t count, int64_t others, RowFloors& off,
                               RowFloors& teacher_off, Doubles& loss_floors) {
          const int64_t empty = pair.empty_row(others);
          reference::RowTerms out =
              reference::distillation_rows(student, teacher, positive, k, weight, count, others, empty);
          if (value.exact()) {  // P' is off as P is
            const Doubles parts = parts_of(out, weight, student, pair, count, others);
            off = row_floors(parts, weight, student, of_scores, pairs.error(), pair, count, others);
            teacher_off = row_floors(parts, weight, teacher, of_teacher, teacher_pairs.error(), pair, count, others);
            off.terms = sum(off.terms, teacher_off.terms);
            // KL's derivative by P' (METHOD.md 5): log P' - log P - KL.
            const Doubles log_p = reference::log_softmax_rows(student, count, others),
                          log_t = reference::log_softmax_rows(teacher, count, others);
            const Doubles p = reference::softmax_rows(teacher, count, others), ones(static_cast<size_t>(count), 1);
            const Doubles of_p =
                row_floors(p, ones, teacher, of_teacher, teacher_pairs.error(), pair, count, others).terms;
            for (int64_t i = 0; i < count; ++i) {
              double kl = 0, loss_off = 0;
              for (size_t e = static_cast<size_t>(i * others); e < static_cast<size_t>((i + 1) * others); ++e)
                kl += p[e] > 0 ? p[e] * (log_t[e] - log_p[e]) : 0;
              for (size_t e = static_cast<size_t>(i * others); e < static_cast<size_t>((i + 1) * others); ++e)
                if (of_p[e] > 0) loss_off += of_p[e] * std::abs(log_t[e] - log_p[e] - kl);
              if (!std::isnan(loss_off)) loss_floors[static_cast<size_t>(i)] = loss_off;
            }
            loss_floors = sum(loss_floors, sum(off.sums, teacher_off.sums));
          }
          add_rounding(value, out, student, of_scores, weight, count, others);
          // The teacher's P' and the sum E of section 5 are rounded as well.
          const Doubles lse = reference::log_sum_exp_rows(teacher, count, others),
                        p = reference::softmax_rows(teacher, count, others);
          for (int64_t i = 0; i < count; ++i) {
            // 0 log 0 = 0, but 0 times what an infinite score leaves is NaN: such a row is left to the comparison of
            // the backends.
            for (int64_t e = i * others; e < (i + 1) * others; ++e)
              if (!pair.excludes(i, e - i * others) &&
                  (!std::isfinite(student[static_cast<size_t>(e)]) || !std::isfinite(teacher[static_cast<size_t>(e)])))
                out.loss[static_cast<size_t>(i)] = kNaN;
            double spread = std::abs(lse[static_cast<size_t>(i)]);
            for (int64_t j = 0; j < others; ++j) {
              const size_t e = static_cast<size_t>(i * others + j);
              if (p[e] > 0) spread += p[e] * std::abs(teacher[e] - student[e]);
              if (weight[static_cast<size_t>(i)] != 0)
                out.grad_s[e] = value.moved(out.grad_s[e], std::abs(weight[static_cast<size_t>(i)]) *
                                                               probability_error(p[e], lse[static_cast<size_t>(i)], 0));
            }
            out.loss[static_cast<size_t>(i)] = value.moved(out.loss[static_cast<size_t>(i)], spread);
            if (i == empty) out.loss[static_cast<size_t>(i)] = 0;
          }
          out.grad_s = with_excluded(out.grad_s, pair, count, others, 0);
          return out;
        };
        const reference::RowTerms row =
            terms(s, errors, t, teacher_errors, pos, kappa, w, own, n, m, of_rows, teacher_of_rows, row_loss_off);
        const reference::RowTerms column =
            terms(st, errors_turned, tt, teacher_errors_turned, pos_columns, kappa_columns, wc, own_turned, m, n,
                  of_columns, teacher_of_columns, column_loss_off);
        const auto statistics = [&](const Doubles& student, const Doubles& teacher, const Doubles& positive,
                                    OwnPairs pair, int64_t count, int64_t others) {
          return beside({reference::log_sum_exp_rows(student, count, others),
                         reference::log_sum_exp_rows(teacher, count, others), row_sums(positive, count, others),
                         log_odds(student, pair, count, others), log_odds(teacher, pair, count, others)});
        };
        const auto floors = [](const RowFloors& off, const RowFloors& teacher_off) {
          return beside({off.sums, teacher_off.sums, Doubles(off.sums.size()), off.odds, teacher_off.odds});
        };
        return joined(
            {{"row_loss", row.loss, kLossFloor, row_loss_off, 0},
             {"column_loss", column.loss, kLossFloor, column_loss_off, 0},
             {"row_statistics", statistics(s, t, pos, own, n, m), kLossFloor, floors(of_rows, teacher_of_rows)},
             {"column_statistics", statistics(st, tt, pos_columns, own_turned, m, n), kLossFloor,
              floors(of_columns, teacher_of_columns)}},
            expected_gradients(gradients_of(pairs, value, factor, sum(row.grad_s, transposed(column.grad_s, m, n))),
                               gradient_floors(pairs, factor, sum(of_rows.terms, transposed(of_columns.terms, m, n)))));
      },
      std::max(pairs.error(), teacher_pairs.error()));
}

void cross_entropy(Case& c) {
  const int64_t rows = c.extent(), classes = c.extent();
  Floats &logits = c.rows(rows, classes), &targets = c.keep(c.draw.distributions(rows, std::max<int64_t>(classes, 1))),
         &weight = c.weights(rows);
  for (int64_t i = 0; i < rows; ++i)
    if (c.coin(0.2))
      for (int64_t k = 0; k < classes; ++k) targets.at(i, k) = 0;
  duet_matrix q = targets.matrix();
  q.columns = classes;
  c.run([&](Run& run) {
    run.call(duet_cross_entropy_forward(run.context,
                                        sized<duet_cross_entropy_inputs>({.logits = logits.matrix(), .targets = q}),
                                        sized<duet_cross_entropy_outputs>({.row_loss = run.output("row_loss", rows)})));
    if (const duet_matrix grad = run.gradient("grad_logits", rows, classes); grad.data)
      run.call(duet_cross_entropy_backward(
          run.context, sized<duet_cross_entropy_inputs>({.logits = logits.matrix(), .targets = q}),
          sized<duet_cross_entropy_gradients>({.row_weight = weight.vector(), .grad_logits = grad})));
  });
  c.expect([&](const Values& value) {
    const Doubles z = value(logits), w = value(weight), given = classes ? value(targets) : Doubles();
    Doubles loss = reference::cross_entropy(z, given, rows, classes),
            grad = reference::cross_entropy_gradient(z, given, w, rows, classes);
    for (int64_t i = 0; i < rows; ++i) {
      double largest = 0;
      for (int64_t k = 0; k < classes; ++k)
        largest = std::max(largest, std::abs(z[static_cast<size_t>(i * classes + k)]));
      loss[static_cast<size_t>(i)] = value.moved(loss[static_cast<size_t>(i)], largest);
      for (int64_t k = i * classes; k < (i + 1) * classes; ++k) {
        double& g = grad[static_cast<size_t>(k)];
        const double upstream = w[static_cast<size_t>(i)],
                     p = upstream == 0 ? 0 : std::abs(g / upstream + given[static_cast<size_t>(k)]);
        g = value.moved(g, std::abs(upstream) * (p * (1 + largest) + given[static_cast<size_t>(k)]));
      }
    }
    return std::vector<Expected>{{"row_loss", loss, kLossFloor, {}, 0}, {"grad_logits", grad}};
  });
}

}  // namespace duet::test::backends
