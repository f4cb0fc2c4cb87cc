// triplet, by classes and by hard labels.
#include <algorithm>
#include <cmath>

#include "tests/backends/labelled.h"
#include "tests/support/annotated_rows.h"

namespace duet::test::backends {

void triplet(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(1), classes = c.draw.integer(1, 5),
                slots = c.draw.integer(1, 3);
  Labelled rows(c, n, m, d, classes);
  Floats &class_x = c.keep(c.draw.distributions(n, classes)), &class_y = c.keep(c.draw.distributions(m, classes));
  Floats &trust_x = c.keep(c.draw.choice(n, {1, 1, 0.6, 0})), &trust_y = c.keep(c.draw.choice(m, {1, 1, 0.6, 0}));
  Floats& upstream = c.constant(c.draw.normal());
  const bool soft = c.coin(), has_trust_x = c.coin(0.7), has_trust_y = c.coin(0.7);
  const bool annotated = soft && c.coin(0.3);
  Floats annotated_x(n, 1), annotated_y(m, 1);
  if (annotated) annotated_x = annotate(c.draw, class_x, 0.6), annotated_y = annotate(c.draw, class_y, 0.6);
  Longs step(1, 1);
  step.fill(static_cast<double>(c.draw.integer(0, 1000)));
  duet_triplet_inputs inputs = DUET_TRIPLET_INPUTS_INIT;
  inputs.x = rows.features_x, inputs.y = rows.features_y, inputs.metric = rows.metric,
  inputs.margin = c.one_of({0.0f, 0.2f, 1.0f});
  inputs.mining = soft ? DUET_TRIPLET_MINING_ALL
                       : c.one_of({DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                                   DUET_TRIPLET_MINING_DISTANCE_WEIGHTED});
  rows.relate(inputs);
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  draw.seed = static_cast<uint64_t>(c.draw.integer(0, 1 << 30)), draw.slots = slots, draw.step = step.vector();
  draw.total_columns = inputs.first_column + m;
  if (inputs.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) inputs.draw = &draw;  // refused where nothing reads it
  if (soft) {
    inputs.class_x = class_x.matrix(), inputs.class_y = class_y.matrix(), inputs.paired = c.coin();
    if (has_trust_x) inputs.trust_x = trust_x.vector();
    if (has_trust_y) inputs.trust_y = trust_y.vector();
    if (annotated) inputs.annotated_x = annotated_x.vector(), inputs.annotated_y = annotated_y.vector();
  } else {
    inputs.labels_x = rows.labels_x.vector(), inputs.labels_y = rows.labels_y.vector();
    if (rows.sets) inputs.label_sets = rows.table.words.matrix();
  }
  const bool in_one_pass = c.coin();
  // The weights of these classes and this trust, or by hard labels.
  const auto weights_of = [&](const Doubles& of_x, const Doubles& of_y, const Doubles& trust) {
    if (!soft) return rows.pairs();
    reference::Weights out = reference::agreement(of_x, of_y, trust, n, m, classes, inputs.paired, inputs.first_row,
                                                  inputs.first_column, annotated ? annotated_x.values() : Doubles(),
                                                  annotated ? annotated_y.values() : Doubles());
    rows.relate(out);
    return out;
  };
  c.describe("mining", static_cast<int>(inputs.mining));
  c.describe("soft", soft);
  c.describe("annotated", annotated);
  c.describe("margin", inputs.margin);
  // NaN in a distance of a column that weighs gives NaN in its anchor's terms; a comparison would pass over it. What an
  // infinite distance gives (inf - inf where two meet) is left to the comparison of the backends.
  const auto mark_nan = [&](reference::TripletSums& sums, const Doubles& distances) {
    Doubles trust(static_cast<size_t>(m), 1);
    for (int64_t j = 0; j < m && has_trust_y; ++j) trust[static_cast<size_t>(j)] = trust_y.at(j);
    const reference::Weights weights = weights_of(class_x.values(), class_y.values(), trust);
    for (int64_t i = 0; i < n; ++i) {
      bool open = false;
      for (int64_t j = 0; j < m; ++j) {
        const size_t k = static_cast<size_t>(i * m + j);
        const bool weighs = weights.positive[k] != 0 || weights.negative[k] != 0;
        open = open || (weighs && !std::isfinite(distances[k]));
      }
      if (!open) continue;
      sums.loss[static_cast<size_t>(i)] = sums.active[static_cast<size_t>(i)] = kNaN;
      for (int64_t k = i * m; k < (i + 1) * m; ++k) sums.grad[static_cast<size_t>(k)] = kNaN;
    }
  };
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_triplet_workspace(run.context, &inputs, bytes); });
    const duet_vector row_loss = run.output("row_loss", n), row_active = run.output("row_active", n);
    const duet_vector loss = run.output("loss", 1), active = run.output("active", 1);
    duet_matrix sum_x = {}, sum_y = {};
    if (in_one_pass) {
      sum_x = run.optional("sum_x", n, d), sum_y = run.optional("sum_y", m, d);
      run.call(duet_triplet_forward(
          run.context, &inputs,
          sized<duet_triplet_outputs>({.row_loss = row_loss, .row_active = row_active, .sum_x = sum_x, .sum_y = sum_y}),
          scratch));
    } else {
      run.call(duet_triplet_forward(run.context, &inputs,
                                    sized<duet_triplet_outputs>({.row_loss = row_loss, .row_active = row_active}),
                                    scratch));
    }
    run.call(duet_triplet_loss(run.context,
                               sized<duet_triplet_loss_inputs>({.row_loss = row_loss, .row_active = row_active}),
                               sized<duet_triplet_loss_outputs>({.loss = loss, .active = active})));
    const duet_matrix grad_x = !in_one_pass || sum_x.data ? run.gradient("grad_x", n, d) : duet_matrix{};
    const duet_matrix grad_y = !in_one_pass || sum_y.data ? run.gradient("grad_y", m, d) : duet_matrix{};
    if (in_one_pass)
      run.call(duet_triplet_add_gradient(
          run.context, sized<duet_triplet_sums>({.sum_x = sum_x, .sum_y = sum_y}),
          sized<duet_triplet_gradients>(
              {.active = active, .grad_loss = upstream.vector(), .grad_x = grad_x, .grad_y = grad_y})));
    else
      run.call(duet_triplet_backward(
          run.context, &inputs,
          sized<duet_triplet_gradients>(
              {.active = active, .grad_loss = upstream.vector(), .grad_x = grad_x, .grad_y = grad_y}),
          scratch));
  });
  const Pairs pairs(c, rows.x, rows.y, rows.metric);
  const size_t anchors = static_cast<size_t>(n);
  c.expect(
      [&](const Values& value) {
        const Doubles distances = pairs.distances(value);
        const double margin = inputs.margin;
        reference::TripletSums sums;
        const reference::Weights weights = weights_of(
            value(class_x), value(class_y), has_trust_y ? value(trust_y) : Doubles(static_cast<size_t>(m), 1));
        if (inputs.mining == DUET_TRIPLET_MINING_ALL) {
          sums = reference::triplets_all(distances, weights, soft && has_trust_x ? value(trust_x) : Doubles(anchors, 1),
                                         margin);
        } else if (inputs.mining == DUET_TRIPLET_MINING_HARD) {
          sums = reference::triplets_mined(distances, anchors, reference::hard_triplets(distances, weights, anchors),
                                           margin);
        } else if (inputs.mining == DUET_TRIPLET_MINING_SEMIHARD) {
          sums = reference::triplets_mined(distances, anchors,
                                           reference::mine_semihard(distances, weights, anchors, margin), margin);
        } else {
          const auto negatives = reference::mine_distance_weighted(
              pairs.distances(value, DUET_METRIC_EUCLIDEAN), weights, anchors, d, draw.seed, step.at(0), slots,
              inputs.first_row, inputs.first_column, draw.total_columns);
          sums = reference::triplets_mined(distances, anchors, reference::drawn_triplets(negatives, weights, anchors),
                                           margin);
        }
        for (int64_t i = 0; i < n; ++i) {  // fl(D + margin) is rounded to the distances' precision
          double largest = 0;
          for (int64_t j = 0; j < m; ++j)
            largest = std::max(largest, std::abs(distances[static_cast<size_t>(i * m + j)]));
          // dL/dD of p = n cancels, each of its two products of soft weights rounded; together they are at most the
          // active weight.
          for (int64_t k = i * m; soft && k < (i + 1) * m; ++k)
            sums.grad[static_cast<size_t>(k)] = value.moved(
                sums.grad[static_cast<size_t>(k)], sums.active[static_cast<size_t>(i)], static_cast<uint64_t>(k));
          sums.loss[static_cast<size_t>(i)] =
              value.moved(sums.loss[static_cast<size_t>(i)], sums.active[static_cast<size_t>(i)] * largest);
        }
        mark_nan(sums, distances);
        const double active = reference::total(sums.active), loss = reference::total(sums.loss);
        const auto sum = pairs.gradients(value, sums.grad);
        reference::RowGradients grad = sum;
        const double factor = active == 0 ? 0 : upstream.at(0) / active;
        for (double& g : grad.x) g *= factor;
        for (double& g : grad.y) g *= factor;
        return std::vector<Expected>{{"row_loss", sums.loss},
                                     {"row_active", sums.active},
                                     {"loss", {active == 0 ? 0 : loss / active}},
                                     {"active", {active}},
                                     {"sum_x", sum.x},
                                     {"sum_y", sum.y},
                                     {"grad_x", grad.x},
                                     {"grad_y", grad.y}};
      },
      pairs.error(), true);
}

}  // namespace duet::test::backends
