// Labelled rows and columns with groups and own pairs, as mining and triplets take them, for their random cases.
#pragma once

#include <algorithm>

#include "tests/backends/distances.h"
#include "tests/backends/operations.h"
#include "tests/reference/triplet.h"
#include "tests/support/label_table.h"

namespace duet::test::backends {

inline reference::Labels list(const Ints& labels) {
  reference::Labels out;
  for (int64_t i = 0; i < labels.rows(); ++i) out.push_back(labels.at(i));
  return out;
}

inline duet_metric draw_metric(Case& c) {
  return c.one_of({DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE});
}

// Some cases have groups, some are without own pairs.
struct Labelled {
  Floats &x, &y;
  duet_const_matrix features_x, features_y;
  Ints &labels_x, &labels_y, &group_x, &group_y;
  duet_metric metric;
  bool groups, exclude_own;
  int64_t first_row, first_column;
  bool sets;
  LabelTable table;
  Labelled(Case& c, int64_t n, int64_t m, int64_t d, int64_t classes)
      : x(c.operands(n, d)),
        y(c.operands(m, d)),
        features_x(c.features(x)),
        features_y(c.features(y)),
        labels_x(c.labels(n, classes)),
        labels_y(c.labels(m, classes)),
        group_x(c.labels(n, 6)),
        group_y(c.labels(m, 6)),
        metric(draw_metric(c)),
        groups(c.coin(0.3)),
        exclude_own(c.coin(0.3)),
        first_row(c.one_of<int64_t>({0, 0, 5})),
        first_column(c.one_of<int64_t>({0, 0, 3})),
        sets(c.coin(0.3)),
        // One row fewer than labels: the last label is alike to itself alone.
        table(draw_label_table(c.draw, std::max<int64_t>(classes - 1, 1), c.one_of<int64_t>({2, 7, 40}), 0.2,
                               c.padding())) {
    if (!sets) table.sets = {};
    c.describe("label_sets", sets);
    c.describe("metric", static_cast<int>(metric));
    c.describe("groups", groups);
    c.describe("exclude_own", exclude_own);
  }
  // Of a call's inputs: mining's or triplet's.
  template <class Inputs>
  void relate(Inputs& in) const {
    if (groups) in.group_x = group_x.vector(), in.group_y = group_y.vector();
    in.exclude_own = exclude_own, in.first_row = first_row, in.first_column = first_column;
  }
  duet_mining_inputs inputs() {
    duet_mining_inputs in = DUET_MINING_INPUTS_INIT;
    in.x = features_x, in.y = features_y, in.labels_x = labels_x.vector(), in.labels_y = labels_y.vector(),
    in.metric = metric;
    relate(in);
    if (sets) in.label_sets = table.words.matrix();
    return in;
  }
  void relate(reference::Weights& weights) const {
    reference::relate(weights, groups ? list(group_x) : reference::Labels(),
                      groups ? list(group_y) : reference::Labels(), exclude_own, x.rows(), y.rows(), first_row,
                      first_column);
  }
  // By hard labels.
  reference::Weights pairs() const {
    reference::Weights out = reference::agreement_of_labels(list(labels_x), list(labels_y), table.sets);
    relate(out);
    return out;
  }
};

}  // namespace duet::test::backends
