// A batch for the triplet tests, its passes through the C interface, and their comparison with the reference.
#pragma once

#include <algorithm>
#include <string>

#include "tests/reference/triplet.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/label_table.h"

namespace duet::test::triplet {

namespace reference = duet::reference;

inline constexpr int64_t kSlots = 2, kStep = 5;
inline constexpr uint64_t kSeed = 12345;

struct Batch {
  Floats x, y, class_x, class_y, trust_x, trust_y;
  Ints labels_x, labels_y;
  bool soft = true, paired = true;
  duet_metric metric = DUET_METRIC_SQEUCLIDEAN;
  duet_triplet_mining mining = DUET_TRIPLET_MINING_ALL;
  float margin = 0.2f;
  int64_t first_row = 0, first_column = 0, total_columns = 0;
  Ints group_x = Ints(0, 1), group_y = Ints(0, 1);  // without rows: no groups
  bool exclude_own = false;
  Floats annotated_x = Floats(0, 1), annotated_y = Floats(0, 1);  // without rows: no flags
  LabelTable label_sets = {{}, 1};                                // of labels; empty: a label is a class
  Longs step = Longs(1, 1).fill(kStep);
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;  // what inputs() refers to

  int64_t n() const { return x.rows(); }
  int64_t m() const { return y.rows(); }
  int64_t d() const { return x.columns(); }
  duet_triplet_inputs inputs() {
    duet_triplet_inputs out = DUET_TRIPLET_INPUTS_INIT;
    out.x = x.matrix(), out.y = y.matrix();
    if (soft) {
      out.class_x = class_x.matrix(), out.class_y = class_y.matrix();
      out.trust_x = trust_x.vector(), out.trust_y = trust_y.vector();
    } else {
      out.labels_x = labels_x.vector(), out.labels_y = labels_y.vector();
      if (label_sets.words.rows() > 0) out.label_sets = label_sets.words.matrix();
    }
    out.metric = metric, out.mining = mining, out.margin = margin, out.paired = paired;
    out.first_row = first_row, out.first_column = first_column;
    if (group_x.rows() + group_y.rows() > 0) out.group_x = group_x.vector(), out.group_y = group_y.vector();
    out.exclude_own = exclude_own;
    if (annotated_x.rows() + annotated_y.rows() > 0)
      out.annotated_x = annotated_x.vector(), out.annotated_y = annotated_y.vector();
    if (mining != DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) return out;
    draw.seed = kSeed, draw.slots = kSlots, draw.step = step.vector(), draw.total_columns = total_columns;
    out.draw = &draw;
    return out;
  }
};

struct Shape {
  int64_t n, m, d, classes;
  bool paired;
  double unlabelled;
};
inline const Shape kShapes[] = {{1, 1, 1, 1, true, 0},       {1, 13, 5, 2, true, 0},      {17, 1, 3, 2, false, 0},
                                {31, 67, 33, 3, false, 0.2}, {128, 128, 64, 10, true, 0}, {67, 129, 20, 5, true, 0.4},
                                {23, 23, 7, 1, false, 0},    {19, 30, 6, 3, false, 1},    {0, 5, 3, 2, false, 0},
                                {5, 0, 3, 2, false, 0},      {150, 310, 9, 40, true, 0.8}};

inline Batch batch_of(const Shape& s, uint64_t seed, int64_t padding = 0) {
  Draw draw(seed);
  Batch out{draw.unit_rows(s.n, s.d, padding),         draw.unit_rows(s.m, s.d, padding),
            draw.distributions(s.n, s.classes),        draw.distributions(s.m, s.classes),
            draw.choice(s.n, {1, 1, 0.6, 0}),          draw.choice(s.m, {1, 1, 0.6, 0}),
            draw.labels(s.n, s.classes, s.unlabelled), draw.labels(s.m, s.classes, s.unlabelled)};
  out.paired = s.paired;
  return out;
}

inline Scratch scratch_for(duet_context* context, const duet_triplet_inputs& inputs) {
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  return Scratch(bytes);
}

struct Forward {
  Floats loss, active, total, weight;  // rows', and duet_triplet_loss's
};

inline Forward forward(Batch& batch, int threads = 2) {
  Context context(threads);
  const duet_triplet_inputs inputs = batch.inputs();
  const Scratch scratch = scratch_for(context, inputs);
  Forward out{Floats(batch.n(), 1), Floats(batch.n(), 1), Floats(1, 1), Floats(1, 1)};
  SUCCEED_CALL(duet_triplet_forward(
      context, &inputs, sized<duet_triplet_outputs>({.row_loss = out.loss.vector(), .row_active = out.active.vector()}),
      scratch.view()));
  SUCCEED_CALL(duet_triplet_loss(
      context, sized<duet_triplet_loss_inputs>({.row_loss = out.loss.vector(), .row_active = out.active.vector()}),
      sized<duet_triplet_loss_outputs>({.loss = out.total.vector(), .active = out.weight.vector()})));
  return out;
}

struct Gradients {
  Floats x, y;
};

inline Gradients zeros(const Batch& batch) {
  return {Floats(batch.n(), batch.d()).fill(0), Floats(batch.m(), batch.d()).fill(0)};
}

inline Gradients backward(Batch& batch, double active, double upstream, Gradients into, int threads = 2) {
  Context context(threads);
  const duet_triplet_inputs inputs = batch.inputs();
  const Scratch scratch = scratch_for(context, inputs);
  Floats weight = Floats(1, 1).fill(active), grad = Floats(1, 1).fill(upstream);
  SUCCEED_CALL(duet_triplet_backward(context, &inputs,
                                     sized<duet_triplet_gradients>({.active = weight.vector(),
                                                                    .grad_loss = grad.vector(),
                                                                    .grad_x = into.x.matrix(),
                                                                    .grad_y = into.y.matrix()}),
                                     scratch.view()));
  return into;
}

struct OnePass {
  Floats loss, active;
  Gradients sums;
};

inline OnePass one_pass(Batch& batch, int threads = 2) {
  Context context(threads);
  const duet_triplet_inputs inputs = batch.inputs();
  const Scratch scratch = scratch_for(context, inputs);
  OnePass out{Floats(batch.n(), 1), Floats(batch.n(), 1), {Floats(batch.n(), batch.d()), Floats(batch.m(), batch.d())}};
  SUCCEED_CALL(duet_triplet_forward(context, &inputs,
                                    sized<duet_triplet_outputs>({.row_loss = out.loss.vector(),
                                                                 .row_active = out.active.vector(),
                                                                 .sum_x = out.sums.x.matrix(),
                                                                 .sum_y = out.sums.y.matrix()}),
                                    scratch.view()));
  return out;
}

inline reference::Labels list(const Ints& labels) {
  reference::Labels out;
  for (int64_t i = 0; i < labels.rows(); ++i) out.push_back(labels.at(i));
  return out;
}

inline Doubles distances(const Batch& batch, duet_metric metric) {
  return reference::distances(batch.x.values(), batch.y.values(), batch.n(), batch.m(), batch.d(), metric);
}

inline reference::Weights weights_of(const Batch& batch) {
  const int64_t n = batch.n(), m = batch.m();
  reference::Weights out =
      batch.soft ? reference::agreement(batch.class_x.values(), batch.class_y.values(), batch.trust_y.values(), n, m,
                                        batch.class_x.columns(), batch.paired, batch.first_row, batch.first_column,
                                        batch.annotated_x.values(), batch.annotated_y.values())
                 : reference::agreement_of_labels(list(batch.labels_x), list(batch.labels_y), batch.label_sets.sets);
  reference::relate(out, list(batch.group_x), list(batch.group_y), batch.exclude_own, n, m, batch.first_row,
                    batch.first_column);
  return out;
}

inline reference::TripletSums expected_of(const Batch& batch) {
  const Doubles values = distances(batch, batch.metric);
  const reference::Weights pairs = weights_of(batch);
  const size_t n = static_cast<size_t>(batch.n());
  switch (batch.mining) {
    case DUET_TRIPLET_MINING_HARD:
      return reference::triplets_mined(values, n, reference::hard_triplets(values, pairs, n), batch.margin);
    case DUET_TRIPLET_MINING_SEMIHARD: {
      auto sums =
          reference::triplets_mined(values, n, reference::mine_semihard(values, pairs, n, batch.margin), batch.margin);
      // A choice that float32 may make otherwise: the next negative is within 4e-6 of the one taken, or that one of the
      // bounds.
      const size_t m = static_cast<size_t>(batch.m());
      for (const auto& t : reference::mine_semihard(values, pairs, n, batch.margin))
        for (size_t q = 0; q < m; ++q) {
          const double dq = values[static_cast<size_t>(t.anchor) * m + q],
                       dp = values[static_cast<size_t>(t.anchor) * m + static_cast<size_t>(t.positive)];
          const double taken = t.negative < 0
                                   ? dp + batch.margin
                                   : values[static_cast<size_t>(t.anchor) * m + static_cast<size_t>(t.negative)];
          if (pairs.negative[static_cast<size_t>(t.anchor) * m + q] > 0 && static_cast<int>(q) != t.negative &&
              (std::abs(dq - taken) <= 4e-6 || std::abs(dq - dp) <= 4e-6))
            sums.slack[static_cast<size_t>(t.anchor)] += 1;
        }
      return sums;
    }
    case DUET_TRIPLET_MINING_DISTANCE_WEIGHTED: {
      const auto negatives = reference::mine_distance_weighted(
          distances(batch, DUET_METRIC_EUCLIDEAN), pairs, n, batch.d(), kSeed, kStep, kSlots, batch.first_row,
          batch.first_column, batch.total_columns ? batch.total_columns : batch.m());
      return reference::triplets_mined(values, n, reference::drawn_triplets(negatives, pairs, n), batch.margin);
    }
    default: break;
  }
  return reference::triplets_all(values, pairs, batch.soft ? batch.trust_x.values() : Doubles(n, 1), batch.margin);
}

// Row terms: a triplet's value is off by at most two distances' errors (2e-6 each, METHOD.md 1; Euclidean distances of
// rows not close: 4e-6) and by its weight's few ulps; those within 4e-6 of the hinge may fall on either side.
inline void check_rows(const Forward& actual, const reference::TripletSums& expected) {
  double loss_off = 0, active_off = 0;
  for (int64_t i = 0; i < actual.loss.rows(); ++i) {
    const size_t k = static_cast<size_t>(i);
    const double allowed = expected.active[k] + expected.slack[k];
    loss_off = std::max(loss_off, std::abs(actual.loss.at(i) - expected.loss[k]) - 1e-5 * allowed);
    active_off =
        std::max(active_off, std::abs(actual.active.at(i) - expected.active[k]) - expected.slack[k] - 1e-6 * allowed);
  }
  CHECK(loss_off <= 1e-6);  // what ulps of weights near 0 leave
  CHECK(active_off <= 1e-6);
}

inline double weight_of(const reference::TripletSums& sums) { return reference::total(sums.active); }

inline void check_gradients(const Gradients& actual, const Batch& batch, const reference::TripletSums& expected,
                            double weight, double upstream, const std::string& what) {
  Doubles grad = expected.grad;
  for (double& value : grad) value *= weight > 0 ? upstream / weight : 0;
  const auto rows = reference::distance_gradients(batch.x.values(), batch.y.values(), batch.n(), batch.m(), batch.d(),
                                                  batch.metric, grad);
  // A triplet that changes sides moves two distances' gradients, each of norm at most 4 for unit rows.
  const double slack = weight > 0 ? 8 * std::abs(upstream) * reference::total(expected.slack) / weight : 0;
  check_relative(actual.x.values(), rows.x, 1e-5, what + " grad_x", slack + 1e-7);
  check_relative(actual.y.values(), rows.y, 1e-5, what + " grad_y", slack + 1e-7);
}

inline const duet_triplet_mining kMinings[] = {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD,
                                               DUET_TRIPLET_MINING_SEMIHARD, DUET_TRIPLET_MINING_DISTANCE_WEIGHTED};
inline const char* const kNames[] = {"all", "hard", "semihard", "distance_weighted"};

// The emulator sorts a column in about the time of 400 multiply-adds.
inline bool affordable_rows(int64_t n, int64_t m) { return affordable(n * m * 400); }

}  // namespace duet::test::triplet
