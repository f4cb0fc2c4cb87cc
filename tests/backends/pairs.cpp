// distance, mining: what stands on distances of all pairs.
#include <algorithm>
#include <cmath>

#include "tests/backends/labelled.h"
#include "tests/backends/softmax_terms.h"

namespace duet::test::backends {
namespace {

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
  const reference::Weights related = rows.pairs(),
                           related_turned{transposed(related.positive, n, m), transposed(related.negative, n, m)};
  const auto candidates = [&](bool of_rows, bool positive, int64_t anchor) {
    std::vector<int64_t> out;
    const reference::Weights& of = of_rows ? related : related_turned;
    const int64_t others = of_rows ? m : n;
    for (int64_t j = 0; j < others; ++j)
      if ((positive ? of.positive : of.negative)[static_cast<size_t>(anchor * others + j)] > 0) out.push_back(j);
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
      const auto hard =
          reference::mine_hard(distances, of_rows ? related : related_turned, static_cast<size_t>(of_rows ? n : m));
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
  const reference::Weights related = rows.pairs();
  const Pairs pairs(c, rows.x, rows.y, rows.metric);
  const auto mined = [&](const Values& value) {
    return reference::mine_semihard(pairs.distances(value), related, static_cast<size_t>(n), margin);
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
      if (!(related.negative[static_cast<size_t>(t.anchor * m + j)] > 0)) continue;
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
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  Longs step(1, 1);
  step.fill(static_cast<double>(c.draw.integer(0, 1000)));
  draw.seed = static_cast<uint64_t>(c.draw.integer(0, 1 << 30)), draw.step = step.vector(), draw.slots = slots;
  draw.total_columns = c.coin() ? 0 : inputs.first_column + m + 5;
  if (draw.total_columns == 0) inputs.first_column = rows.first_column = 0;
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
  const reference::Weights related = rows.pairs();
  const auto mined = [&](const Doubles& distances) {
    return reference::mine_distance_weighted(distances, related, static_cast<size_t>(n), d, draw.seed, step.at(0),
                                             slots, inputs.first_row, inputs.first_column,
                                             draw.total_columns ? draw.total_columns : m);
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

}  // namespace duet::test::backends
