// alignment, and its stored probabilities.
#include "tests/backends/operations.h"
#include "tests/backends/softmax_terms.h"

namespace duet::test::backends {
namespace {

OwnPairs draw_own(Case& c, duet_alignment_inputs& inputs) {
  inputs.exclude_own = c.coin(0.3);
  inputs.first_row = c.one_of<int64_t>({0, 0, 5}), inputs.first_column = c.one_of<int64_t>({0, 0, 3, 100});
  c.describe("exclude_own", inputs.exclude_own);
  return {false, inputs.first_row - inputs.first_column, inputs.exclude_own != 0};
}

}  // namespace

void alignment(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent();
  Floats &a = c.operands(n, d), &v = c.operands(m, d), &scale = c.constant(draw_scale(c)), &weight_row = c.weights(n),
         &weight_column = c.weights(m);
  const bool rows = c.coin(0.8), columns = c.coin(0.8);
  duet_alignment_inputs inputs = DUET_ALIGNMENT_INPUTS_INIT;
  inputs.score = c.one_of(
      {DUET_METRIC_INNER, DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE});
  inputs.a = c.features(a), inputs.v = c.features(v), inputs.scale = scale.vector();
  const OwnPairs own = draw_own(c, inputs);
  c.describe("scale", scale.at(0));
  c.describe("score", static_cast<int>(inputs.score));
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_alignment_workspace(run.context, &inputs, bytes); });
    const duet_vector lse_row = rows ? run.output("lse_row", n) : duet_vector{},
                      lse_column = columns ? run.output("lse_column", m) : duet_vector{};
    run.call(duet_alignment_forward(
        run.context, &inputs, sized<duet_alignment_outputs>({.lse_row = lse_row, .lse_column = lse_column}), scratch));
    const duet_matrix grad_a = run.gradient("grad_a", n, d), grad_v = run.gradient("grad_v", m, d);
    run.call(duet_alignment_backward(
        run.context, &inputs,
        sized<duet_alignment_gradients>({.lse_row = lse_row,
                                         .lse_column = lse_column,
                                         .grad_lse_row = rows ? weight_row.vector() : duet_vector{},
                                         .grad_lse_column = columns ? weight_column.vector() : duet_vector{},
                                         .grad_a = grad_a,
                                         .grad_v = grad_v,
                                         .grad_scale = run.gradient("grad_scale", 1)}),
        scratch));
  });
  const Pairs pairs(c, a, v, inputs.score);
  const Doubles errors = score_errors(pairs, scale.at(0)), errors_turned = transposed(errors, n, m);
  c.expect(
      [&](const Values& value) {
        const double factor = scale.at(0);
        const Doubles s = with_excluded(pairs.scores(value, factor), own, n, m, -INFINITY), st = transposed(s, n, m);
        Doubles w = value(weight_row), wc = value(weight_column), lse_row = reference::log_sum_exp_rows(s, n, m),
                lse_column = reference::log_sum_exp_rows(st, m, n);
        RowFloors row_off{Doubles(s.size()), {}, {}}, column_off = row_off;
        const auto pull = [&](const Doubles& scores, const Doubles& of_scores, const Doubles& weights, int64_t count,
                              int64_t others, OwnPairs own, RowFloors& off) {
          const Doubles p = with_excluded(reference::softmax_rows(scores, count, others), own, count, others, 0);
          reference::RowTerms terms{Doubles(static_cast<size_t>(count)), Doubles(scores.size())};
          for (size_t k = 0; k < p.size(); ++k) terms.grad_s[k] = weights[k / static_cast<size_t>(others)] * p[k];
          if (value.exact())
            off = row_floors(parts_of(terms, weights, scores, own, count, others), weights, scores, of_scores,
                             pairs.error(), own, count, others);
          add_rounding(value, terms, scores, of_scores, weights, count, others);
          return with_excluded(terms.grad_s, own, count, others, 0);
        };
        if (!rows) w.assign(w.size(), 0);
        if (!columns) wc.assign(wc.size(), 0);
        const Doubles g = sum(pull(s, errors, w, n, m, own, row_off),
                              transposed(pull(st, errors_turned, wc, m, n, own.turned(), column_off), m, n));
        return joined(
            {{"lse_row", lse_row, kLossFloor, row_off.sums}, {"lse_column", lse_column, kLossFloor, column_off.sums}},
            expected_gradients(gradients_of(pairs, value, factor, g),
                               gradient_floors(pairs, factor, sum(row_off.terms, transposed(column_off.terms, m, n)))));
      },
      pairs.error());
}

void alignment_probabilities(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent();
  Floats &a = c.operands(n, d), &v = c.operands(m, d), &scale = c.constant(draw_scale(c)), &weight = c.weights(n, m);
  duet_alignment_inputs inputs = DUET_ALIGNMENT_INPUTS_INIT;
  inputs.score = c.one_of(
      {DUET_METRIC_INNER, DUET_METRIC_INNER, DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE});
  inputs.a = c.features(a), inputs.v = c.features(v), inputs.scale = scale.vector();
  const OwnPairs own = draw_own(c, inputs);
  c.describe("scale", scale.at(0));
  c.describe("score", static_cast<int>(inputs.score));
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_alignment_workspace(run.context, &inputs, bytes); });
    const duet_vector lse_row = run.output("lse_row", n);
    const duet_matrix probabilities = run.output("probabilities", n, m);
    run.call(
        duet_alignment_forward(run.context, &inputs, sized<duet_alignment_outputs>({.lse_row = lse_row}), scratch));
    run.call(duet_alignment_probabilities(
        run.context, &inputs,
        sized<duet_alignment_probabilities_outputs>({.lse_row = lse_row, .probabilities = probabilities}), scratch));
    const duet_matrix grad_a = run.gradient("grad_a", n, d), grad_v = run.gradient("grad_v", m, d);
    run.call(duet_alignment_probabilities_backward(
        run.context, &inputs,
        sized<duet_alignment_probabilities_gradients>({.probabilities = probabilities,
                                                       .grad_probabilities = weight.matrix(),
                                                       .grad_a = grad_a,
                                                       .grad_v = grad_v,
                                                       .grad_scale = run.gradient("grad_scale", 1)}),
        scratch));
  });
  const Pairs pairs(c, a, v, inputs.score);
  const Doubles errors = score_errors(pairs, scale.at(0)), errors_turned = transposed(errors, n, m);
  c.expect(
      [&](const Values& value) {
        const double factor = scale.at(0);
        const Doubles s = with_excluded(pairs.scores(value, factor), own, n, m, -INFINITY),
                      lse = reference::log_sum_exp_rows(s, n, m), w = value(weight);
        Doubles p = with_excluded(reference::softmax_rows(s, n, m), own, n, m, 0), g(p.size()), g_off(p.size());
        RowFloors off{Doubles(p.size()), {}, {}};
        if (value.exact()) off = row_floors(p, Doubles(static_cast<size_t>(n), 1), s, errors, pairs.error(), own, n, m);
        const Doubles& p_off = off.terms;
        for (int64_t i = 0; i < n; ++i) {
          // P (dP - pivot + sum P (pivot - dP)), pivot one of the dP: exact where the P sum to 1, which these need not.
          double pivot = 0, spread = 0, spread_off = 0;
          for (int64_t k = i * m; k < (i + 1) * m; ++k) pivot = std::max(pivot, std::abs(w[static_cast<size_t>(k)]));
          for (int64_t k = i * m; k < (i + 1) * m; ++k) {
            const size_t e = static_cast<size_t>(k);
            spread += (p[e] + p_off[e]) * (std::abs(w[e]) + pivot);
            spread_off += p_off[e] * (std::abs(w[e]) + pivot);
          }
          for (int64_t k = i * m; k < (i + 1) * m; ++k) {
            const size_t e = static_cast<size_t>(k);
            const double from_p = p_off[e] == 0 || std::isinf(p_off[e]) ? p_off[e]
                                                                        : p_off[e] * (std::abs(w[e]) + pivot + spread),
                         from_sum = p[e] == 0 ? 0 : p[e] * spread_off;
            g_off[e] = from_p + from_sum;
          }
          double along = 0, sizes = 0;
          for (int64_t j = 0; j < m; ++j) {
            const size_t k = static_cast<size_t>(i * m + j);
            if (own.excludes(i, j)) continue;
            p[k] = value.moved(p[k], probability_error(p[k], lse[static_cast<size_t>(i)], errors[k]));
            along += p[k] * w[k];
            sizes += p[k] * std::abs(w[k]);
          }
          for (int64_t j = 0; j < m; ++j) {
            const size_t k = static_cast<size_t>(i * m + j);
            if (!own.excludes(i, j)) g[k] = value.moved(p[k] * (w[k] - along), p[k] * (std::abs(w[k]) + sizes));
          }
        }
        return joined({{"lse_row", lse, kLossFloor, off.sums}, {"probabilities", p, 0, p_off, 0, 1}},
                      expected_gradients(gradients_of(pairs, value, factor, g), gradient_floors(pairs, factor, g_off)));
      },
      pairs.error());
}

}  // namespace duet::test::backends
