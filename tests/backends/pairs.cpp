// distance, mining, triplet: what stands on distances of all pairs.
#include <algorithm>
#include <cmath>

#include "tests/backends/distances.h"
#include "tests/backends/operations.h"
#include "tests/reference/triplet.h"

namespace duet::test::backends {
namespace {

reference::Labels list(const Ints& labels) {
  reference::Labels out;
  for (int64_t i = 0; i < labels.rows(); ++i) out.push_back(labels.at(i));
  return out;
}

duet_metric draw_metric(Case& c) {
  return c.one_of({DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE});
}

// Labelled rows and columns, as mining and triplets take them.
struct Labelled {
  Floats &x, &y;
  duet_const_matrix features_x, features_y;
  Ints &labels_x, &labels_y;
  duet_metric metric;
  Labelled(Case& c, int64_t n, int64_t m, int64_t d, int64_t classes)
      : x(c.operands(n, d)),
        y(c.operands(m, d)),
        features_x(c.features(x)),
        features_y(c.features(y)),
        labels_x(c.labels(n, classes)),
        labels_y(c.labels(m, classes)),
        metric(draw_metric(c)) {
    c.describe("metric", static_cast<int>(metric));
  }
  duet_mining_inputs inputs() {
    duet_mining_inputs in = DUET_MINING_INPUTS_INIT;
    in.x = features_x, in.y = features_y, in.labels_x = labels_x.vector(), in.labels_y = labels_y.vector(),
    in.metric = metric;
    return in;
  }
};

// NaN for a choice of -1, and of one that was not written.
Doubles at_choice(const Doubles& distances, const Doubles& choice, size_t choices_a_row = 1) {
  const size_t m = choice.empty() ? 0 : distances.size() / (choice.size() / choices_a_row);
  Doubles out;
  for (size_t k = 0; k < choice.size(); ++k)
    out.push_back(choice[k] < 0 || choice[k] >= static_cast<double>(m)
                      ? kNaN
                      : distances[k / choices_a_row * m + static_cast<size_t>(choice[k])]);
  return out;
}

Doubles as_doubles(const std::vector<int>& values) { return Doubles(values.begin(), values.end()); }

}  // namespace

void distance(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent();
  Floats &x = c.operands(n, d), &y = c.operands(m, d), &g = c.weights(n, m);
  duet_distance_inputs inputs = DUET_DISTANCE_INPUTS_INIT;
  inputs.metric = c.one_of({DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE, DUET_METRIC_INNER});
  inputs.x = c.features(x), inputs.y = c.features(y);
  c.describe("metric", static_cast<int>(inputs.metric));
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_distance_workspace(run.context, &inputs, bytes); });
    const duet_matrix distances = run.output("distances", n, m);
    run.call(
        duet_distance_forward(run.context, &inputs, sized<duet_distance_outputs>({.distances = distances}), scratch));
    const duet_matrix grad_x = run.gradient("grad_x", n, d), grad_y = run.gradient("grad_y", m, d);
    run.call(duet_distance_backward(
        run.context, &inputs,
        sized<duet_distance_gradients>({.distances = inputs.metric == DUET_METRIC_EUCLIDEAN ? distances : duet_matrix{},
                                        .grad_distances = g.matrix(),
                                        .grad_x = grad_x,
                                        .grad_y = grad_y}),
        scratch));
  });
  const Pairs pairs(c, x, y, inputs.metric);
  c.expect(
      [&](const Values& value) {
        const auto grad = pairs.gradients(value, value(g));
        return std::vector<Expected>{{"distances",
                                      pairs.distances(value),
                                      0,
                                      {},
                                      inputs.metric == DUET_METRIC_INNER ? -INFINITY : 0,
                                      inputs.metric == DUET_METRIC_COSINE ? 2 : INFINITY},
                                     {"grad_x", grad.x},
                                     {"grad_y", grad.y}};
      },
      pairs.error());
}

void mining_hard(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(), classes = c.draw.integer(1, 5);
  Labelled rows(c, n, m, d, classes);
  const duet_mining_inputs inputs = rows.inputs();
  const bool has_rows = c.coin(0.8), has_columns = c.coin(0.8);
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_mining_workspace(run.context, &inputs, bytes); });
    const auto outputs = [&](const std::string& side, int64_t count) {
      duet_mining_hard_side out = DUET_MINING_HARD_SIDE_INIT;
      if (run.coin(0.8)) out.positive_index = run.integers(side + ".positive_index", count);
      if (run.coin(0.8)) out.negative_index = run.integers(side + ".negative_index", count);
      out.positive_distance = run.optional(side + ".positive_distance", count);
      out.negative_distance = run.optional(side + ".negative_distance", count);
      return out;
    };
    const duet_mining_hard_side of_rows = outputs("rows", n), of_columns = outputs("columns", m);
    run.call(duet_mining_hard(run.context, &inputs,
                              sized<duet_mining_hard_outputs>({.rows = has_rows ? &of_rows : nullptr,
                                                               .columns = has_columns ? &of_columns : nullptr}),
                              scratch));
  });
  const Pairs pairs(c, rows.x, rows.y, rows.metric);
  const auto lx = list(rows.labels_x), ly = list(rows.labels_y);
  const auto candidates = [&](bool of_rows, bool positive, int64_t anchor) {
    std::vector<int64_t> out;
    const auto &own = of_rows ? lx : ly, &others = of_rows ? ly : lx;
    for (size_t j = 0; j < others.size(); ++j)
      if (positive ? reference::same(own[static_cast<size_t>(anchor)], others[j])
                   : reference::different(own[static_cast<size_t>(anchor)], others[j]))
        out.push_back(static_cast<int64_t>(j));
    return out;
  };
  const Pairs turned(c, rows.y, rows.x, rows.metric);
  const Doubles exact = pairs.distances(Values(0, 0)), exact_turned = turned.distances(Values(0, 0));
  std::vector<Expected> known;
  for (const bool of_rows : {true, false})
    for (const bool positive : {true, false}) {
      const std::string name = std::string(of_rows ? "rows." : "columns.") + (positive ? "positive_" : "negative_");
      const Pairs& side = of_rows ? pairs : turned;
      const Doubles& distances = of_rows ? exact : exact_turned;
      const bool has = of_rows ? has_rows : has_columns;
      c.allow(name + "index", [&, of_rows, positive](size_t i, int64_t x, int64_t y) {
        const auto choice = [&](int64_t j) {
          return side.well_chosen(distances, static_cast<int64_t>(i), j,
                                  candidates(of_rows, positive, static_cast<int64_t>(i)),
                                  [&](double p, double q) { return positive ? p > q : p < q; });
        };
        return choice(x) && choice(y);
      });
      const auto hard = reference::mine_hard(distances, of_rows ? lx : ly, of_rows ? ly : lx);
      Doubles index = as_doubles(positive ? hard.positive : hard.negative);
      if (!has) index.assign(index.size(), 0x5A5A5A5A);  // what is not asked for stays as it was
      known.push_back({name + "index", index});
    }
  c.expect(
      [&](const Values& value) {
        std::vector<Expected> out = known;
        const Doubles of_rows = pairs.distances(value), of_columns = turned.distances(value);
        for (const Expected& e : known) {
          const std::string name = e.name.substr(0, e.name.size() - 5);
          const Doubles& distances = name.starts_with("rows") ? of_rows : of_columns;
          const auto at = [&](bool cuda) {
            const Doubles own = c.left(e.name, cuda);  // without an index of its own a run is asked for the reference's
            return at_choice(distances, own.size() == e.values.size() ? own : e.values);
          };
          out.push_back(
              {name + "distance", at(false), 0, {}, 0, rows.metric == DUET_METRIC_COSINE ? 2 : INFINITY, at(true)});
        }
        return out;
      },
      pairs.error());
}

void mining_semihard(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(), classes = c.draw.integer(1, 5);
  Labelled rows(c, n, m, d, classes);
  duet_mining_inputs inputs = rows.inputs();
  const float margin = c.one_of({0.0f, 0.2f, 1.0f, 10.0f});
  inputs.margin = margin;
  const auto lx = list(rows.labels_x), ly = list(rows.labels_y);
  const Pairs pairs(c, rows.x, rows.y, rows.metric);
  const auto mined = [&](const Values& value) {
    return reference::mine_semihard(pairs.distances(value), lx, ly, margin);
  };
  const int64_t count = static_cast<int64_t>(mined(Values(0, 0)).size());
  const bool has_distances = c.coin(0.8);
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_mining_workspace(run.context, &inputs, bytes); });
    run.call(duet_mining_semihard_count(
        run.context, &inputs, sized<duet_mining_semihard_count_outputs>({.count = run.longs("count", 1)}), scratch));
    const duet_matrix triplets = run.integers("triplets", count, 3);
    run.call(duet_mining_semihard(
        run.context, &inputs,
        sized<duet_mining_semihard_outputs>(
            {.triplets = triplets, .distances = has_distances ? run.output("distances", count, 2) : duet_matrix{}}),
        scratch));
  });
  const Doubles exact = pairs.distances(Values(0, 0));
  const auto triplets = mined(Values(0, 0));
  c.allow("triplets", [&](size_t k, int64_t x, int64_t y) {
    if (k % 3 != 2) return false;
    const auto& t = triplets[k / 3];
    const double near = exact[static_cast<size_t>(t.anchor * m + t.positive)],
                 error = pairs.tolerance(t.anchor, t.positive);
    std::vector<int64_t> sure, possible;
    for (int64_t j = 0; j < m; ++j) {
      const double far = exact[static_cast<size_t>(t.anchor * m + j)], off = error + pairs.tolerance(t.anchor, j);
      // The sum with the margin is rounded to float32.
      const double reach = near + margin, rounding = pairs.exact_values ? 0 : 1e-7 * std::abs(reach);
      if (!reference::different(lx[static_cast<size_t>(t.anchor)], ly[static_cast<size_t>(j)])) continue;
      if (far > near + off && far < reach - off - rounding) sure.push_back(j);
      if (far > near - off && far < reach + off + rounding) possible.push_back(j);
    }
    const auto good = [&](int64_t choice) {
      if (choice < 0) return sure.empty();
      if (std::find(possible.begin(), possible.end(), choice) == possible.end()) return false;
      auto among = sure;
      among.push_back(choice);
      return pairs.well_chosen(exact, t.anchor, choice, among, [](double p, double q) { return p < q; });
    };
    return good(x) && good(y);
  });
  c.expect(
      [&](const Values& value) {
        const Doubles distances = pairs.distances(value);
        Doubles list;
        for (const auto& t : triplets)
          list.insert(list.end(), {double(t.anchor), double(t.positive), double(t.negative)});
        const auto at = [&](bool cuda) {
          const Doubles own = c.left("triplets", cuda);
          Doubles out;
          for (size_t k = 0; k < triplets.size(); ++k) {
            const auto of = [&](double j) {
              return j < 0 ? kNaN : distances[static_cast<size_t>(triplets[k].anchor * m) + static_cast<size_t>(j)];
            };
            out.push_back(of(triplets[k].positive));
            out.push_back(of(own[3 * k + 2]));
          }
          return out;
        };
        return std::vector<Expected>{{"count", {static_cast<double>(count)}},
                                     {"triplets", list},
                                     {"distances", at(false), 0, {}, 0, INFINITY, at(true)}};
      },
      pairs.error());
}

void mining_distance_weighted(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(1), classes = c.draw.integer(1, 5),
                slots = c.draw.integer(1, 4);
  Labelled rows(c, n, m, d, classes);
  duet_mining_inputs inputs = rows.inputs();
  inputs.first_row = c.one_of<int64_t>({0, 0, 9}), inputs.first_column = c.one_of<int64_t>({0, 0, 7});
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  Longs step(1, 1);
  step.fill(static_cast<double>(c.draw.integer(0, 1000)));
  draw.seed = static_cast<uint64_t>(c.draw.integer(0, 1 << 30)), draw.step = step.vector(), draw.slots = slots;
  draw.total_columns = c.coin() ? 0 : inputs.first_column + m + 5;
  if (draw.total_columns == 0) inputs.first_column = 0;
  inputs.draw = &draw;
  const bool has_distances = c.coin(0.8);
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_mining_workspace(run.context, &inputs, bytes); });
    const duet_matrix negatives = run.integers("negatives", n, slots);
    run.call(duet_mining_distance_weighted(
        run.context, &inputs,
        sized<duet_mining_distance_weighted_outputs>(
            {.negatives = negatives, .distances = has_distances ? run.output("distances", n, slots) : duet_matrix{}}),
        scratch));
  });
  const Pairs pairs(c, rows.x, rows.y, DUET_METRIC_EUCLIDEAN);
  const auto lx = list(rows.labels_x), ly = list(rows.labels_y);
  const auto mined = [&](const Doubles& distances) {
    return reference::mine_distance_weighted(distances, lx, ly, d, draw.seed, step.at(0), slots, inputs.first_row,
                                             inputs.first_column, draw.total_columns ? draw.total_columns : m);
  };
  c.allow("negatives",
          Case::choices([&](const Values& value) { return mined(pairs.distances(value)); }, 4 * pairs.error()));
  c.expect(
      [&](const Values& value) {
        const Doubles distances = pairs.distances(value);
        const auto at = [&](bool cuda) {
          return at_choice(distances, c.left("negatives", cuda), static_cast<size_t>(slots));
        };
        return std::vector<Expected>{{"negatives", as_doubles(mined(distances))},
                                     {"distances", at(false), 0, {}, 0, INFINITY, at(true)}};
      },
      pairs.error());
}

void triplet(Case& c) {
  const int64_t n = c.extent(), m = c.extent(), d = c.extent(1), classes = c.draw.integer(1, 5),
                slots = c.draw.integer(1, 3);
  Labelled rows(c, n, m, d, classes);
  Floats &class_x = c.keep(c.draw.distributions(n, classes)), &class_y = c.keep(c.draw.distributions(m, classes));
  Floats &trust_x = c.keep(c.draw.choice(n, {1, 1, 0.6, 0})), &trust_y = c.keep(c.draw.choice(m, {1, 1, 0.6, 0}));
  Floats& upstream = c.constant(c.draw.normal());
  const bool soft = c.coin(), has_trust_x = c.coin(0.7), has_trust_y = c.coin(0.7);
  Longs step(1, 1);
  step.fill(static_cast<double>(c.draw.integer(0, 1000)));
  duet_triplet_inputs inputs = DUET_TRIPLET_INPUTS_INIT;
  inputs.x = rows.features_x, inputs.y = rows.features_y, inputs.metric = rows.metric,
  inputs.margin = c.one_of({0.0f, 0.2f, 1.0f});
  inputs.mining = soft ? DUET_TRIPLET_MINING_ALL
                       : c.one_of({DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                                   DUET_TRIPLET_MINING_DISTANCE_WEIGHTED});
  inputs.first_row = c.one_of<int64_t>({0, 0, 5}), inputs.first_column = c.one_of<int64_t>({0, 0, 3});
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  draw.seed = static_cast<uint64_t>(c.draw.integer(0, 1 << 30)), draw.slots = slots, draw.step = step.vector();
  draw.total_columns = inputs.first_column + m;
  if (inputs.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) inputs.draw = &draw;  // refused where nothing reads it
  if (soft) {
    inputs.class_x = class_x.matrix(), inputs.class_y = class_y.matrix(), inputs.paired = c.coin();
    if (has_trust_x) inputs.trust_x = trust_x.vector();
    if (has_trust_y) inputs.trust_y = trust_y.vector();
  } else {
    inputs.labels_x = rows.labels_x.vector(), inputs.labels_y = rows.labels_y.vector();
  }
  const bool in_one_pass = c.coin();
  c.describe("mining", static_cast<int>(inputs.mining));
  c.describe("soft", soft);
  c.describe("margin", inputs.margin);
  // NaN in a distance of a column that weighs gives NaN in its anchor's terms; a comparison would pass over it. What an
  // infinite distance gives (inf - inf where two meet) is left to the comparison of the backends.
  const auto mark_nan = [&](reference::TripletSums& sums, const Doubles& distances) {
    for (int64_t i = 0; i < n; ++i) {
      bool open = false;
      for (int64_t j = 0; j < m; ++j) {
        const bool own = inputs.paired && i + inputs.first_row == j + inputs.first_column;
        const bool weighs =
            soft ? own || !has_trust_y || trust_y.at(j) != 0 : rows.labels_x.at(i) >= 0 && rows.labels_y.at(j) >= 0;
        open = open || (weighs && !std::isfinite(distances[static_cast<size_t>(i * m + j)]));
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
  const auto lx = list(rows.labels_x), ly = list(rows.labels_y);
  c.expect(
      [&](const Values& value) {
        const Doubles distances = pairs.distances(value);
        const double margin = inputs.margin;
        reference::TripletSums sums;
        if (soft) {
          const Doubles ones_n(static_cast<size_t>(n), 1), ones_m(static_cast<size_t>(m), 1);
          const auto weights =
              reference::agreement(value(class_x), value(class_y), has_trust_y ? value(trust_y) : ones_m, n, m, classes,
                                   inputs.paired, inputs.first_row, inputs.first_column);
          sums = reference::triplets_all(distances, weights, has_trust_x ? value(trust_x) : ones_n, margin);
        } else if (inputs.mining == DUET_TRIPLET_MINING_ALL) {
          sums =
              reference::triplets_all(distances, reference::agreement_of_labels(lx, ly), Doubles(lx.size(), 1), margin);
        } else if (inputs.mining == DUET_TRIPLET_MINING_HARD) {
          sums = reference::triplets_mined(distances, lx.size(), reference::hard_triplets(distances, lx, ly), margin);
        } else if (inputs.mining == DUET_TRIPLET_MINING_SEMIHARD) {
          sums = reference::triplets_mined(distances, lx.size(), reference::mine_semihard(distances, lx, ly, margin),
                                           margin);
        } else {
          const auto negatives = reference::mine_distance_weighted(
              pairs.distances(value, DUET_METRIC_EUCLIDEAN), lx, ly, d, draw.seed, step.at(0), slots, inputs.first_row,
              inputs.first_column, draw.total_columns);
          sums = reference::triplets_mined(distances, lx.size(), reference::drawn_triplets(negatives, lx, ly), margin);
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
