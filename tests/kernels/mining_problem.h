// A batch for the mining tests, its calls through the C interface and their comparison with the reference.
#pragma once

#include <cmath>

#include "tests/reference/mining.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/label_table.h"

namespace duet::test::mining {

namespace reference = duet::reference;

struct Batch {
  Floats x, y;
  Ints labels_x, labels_y;
  duet_metric metric = DUET_METRIC_SQEUCLIDEAN;
  int64_t first_row = 0, first_column = 0;
  Ints group_x = Ints(0, 1), group_y = Ints(0, 1);  // without rows: no groups
  bool exclude_own = false;
  LabelTable label_sets = {{}, 1};  // empty: a label is a class

  int64_t n() const { return x.rows(); }
  int64_t m() const { return y.rows(); }
  duet_mining_inputs inputs() {
    duet_mining_inputs out = DUET_MINING_INPUTS_INIT;
    out.x = x.matrix(), out.y = y.matrix(), out.labels_x = labels_x.vector(), out.labels_y = labels_y.vector();
    out.metric = metric, out.first_row = first_row, out.first_column = first_column;
    if (group_x.rows() + group_y.rows() > 0) out.group_x = group_x.vector(), out.group_y = group_y.vector();
    out.exclude_own = exclude_own;
    if (label_sets.words.rows() > 0) out.label_sets = label_sets.words.matrix();
    return out;
  }
  reference::Weights pairs() const;
  Scratch scratch(duet_context* context) {
    const duet_mining_inputs in = inputs();
    size_t bytes = 0;
    SUCCEED_CALL(duet_mining_workspace(context, &in, &bytes));
    return Scratch(bytes);
  }
  // The distances as the kernels see them: what is mined is decided in float32.
  Doubles distances(duet_metric of) {
    Context context(1);
    duet_distance_inputs in = DUET_DISTANCE_INPUTS_INIT;
    in.x = x.matrix(), in.y = y.matrix(), in.metric = of;
    size_t bytes = 0;
    SUCCEED_CALL(duet_distance_workspace(context, &in, &bytes));
    Scratch scratch(bytes);
    Floats out(n(), m());
    SUCCEED_CALL(
        duet_distance_forward(context, &in, sized<duet_distance_outputs>({.distances = out.matrix()}), scratch.view()));
    return out.values();
  }
};

inline reference::Labels list(const Ints& labels) {
  reference::Labels out;
  for (int64_t i = 0; i < labels.rows(); ++i) out.push_back(labels.at(i));
  return out;
}

inline reference::Weights Batch::pairs() const {
  reference::Weights out = reference::agreement_of_labels(list(labels_x), list(labels_y), label_sets.sets);
  reference::relate(out, list(group_x), list(group_y), exclude_own, n(), m(), first_row, first_column);
  return out;
}

struct Hard {
  Ints positive, negative;
  Floats positive_distance, negative_distance;

  explicit Hard(int64_t size)
      : positive(size, 1), negative(size, 1), positive_distance(size, 1), negative_distance(size, 1) {}
  duet_mining_hard_side outputs() {
    duet_mining_hard_side out = DUET_MINING_HARD_SIDE_INIT;
    out.positive_index = positive.vector(), out.negative_index = negative.vector();
    out.positive_distance = positive_distance.vector(), out.negative_distance = negative_distance.vector();
    return out;
  }
  bool same_bits(const Hard& other) const {
    return positive.same_bits(other.positive) && negative.same_bits(other.negative) &&
           positive_distance.same_bits(other.positive_distance) && negative_distance.same_bits(other.negative_distance);
  }
};

struct BothSides {
  Hard rows, columns;
};

inline BothSides mine_hard(Batch& batch, int threads) {
  Context context(threads);
  Scratch scratch = batch.scratch(context);
  const duet_mining_inputs inputs = batch.inputs();
  BothSides out{Hard(batch.n()), Hard(batch.m())};
  const duet_mining_hard_side rows = out.rows.outputs(), columns = out.columns.outputs();
  SUCCEED_CALL(duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.rows = &rows, .columns = &columns}),
                                scratch.view()));
  return out;
}

inline Doubles transposed(const Doubles& values, int64_t n, int64_t m) {
  Doubles out(values.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) out[static_cast<size_t>(j * n + i)] = values[static_cast<size_t>(i * m + j)];
  return out;
}

// Indices and the distances that belong to them, NaN for -1.
inline void check_mined(const Ints& indices, const Floats& distances, const std::vector<int>& expected,
                        const Doubles& matrix, double tolerance, const char* what) {
  Doubles wanted_index, wanted_distance;
  const size_t width = indices.rows() ? matrix.size() / static_cast<size_t>(indices.rows()) : 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    wanted_index.push_back(expected[i]);
    wanted_distance.push_back(
        expected[i] < 0
            ? kNaN
            : matrix[i / static_cast<size_t>(indices.columns()) * width + static_cast<size_t>(expected[i])]);
  }
  check_close(indices.values(), wanted_index, 0, what);
  check_close(distances.values(), wanted_distance, tolerance, what);
}

struct Semihard {
  Ints triplets;
  Floats distances;
};

inline Semihard mine_semihard(Batch& batch, float margin, int threads) {
  Context context(threads);
  Scratch scratch = batch.scratch(context);
  duet_mining_inputs inputs = batch.inputs();
  inputs.margin = margin;
  Longs count(1, 1);
  SUCCEED_CALL(duet_mining_semihard_count(
      context, &inputs, sized<duet_mining_semihard_count_outputs>({.count = count.vector()}), scratch.view()));
  Semihard out{Ints(count.at(0), 3), Floats(count.at(0), 2)};
  SUCCEED_CALL(duet_mining_semihard(
      context, &inputs,
      sized<duet_mining_semihard_outputs>({.triplets = out.triplets.matrix(), .distances = out.distances.matrix()}),
      scratch.view()));
  return out;
}

// The list by comparisons of the very distances that the kernels mine by.
inline std::vector<int> expected_negatives(const Batch& batch, const Doubles& distances, float margin) {
  std::vector<int> out;
  const reference::Weights pairs = batch.pairs();
  const size_t n = static_cast<size_t>(batch.n()), m = static_cast<size_t>(batch.m());
  for (size_t i = 0; i < n; ++i)
    for (size_t p = 0; p < m; ++p) {
      if (!(pairs.positive[i * m + p] > 0)) continue;
      const float from = static_cast<float>(distances[i * m + p]), reach = from + margin;
      int best = -1;
      for (size_t j = 0; j < m; ++j) {
        const double d = distances[i * m + j];
        if (pairs.negative[i * m + j] > 0 && d > from && d < reach &&
            (best < 0 || d < distances[i * m + static_cast<size_t>(best)]))
          best = static_cast<int>(j);
      }
      out.push_back(best);
    }
  return out;
}

inline void check_semihard_exactly(Batch& batch, float margin) {
  const Doubles distances = batch.distances(batch.metric);
  const std::vector<int> expected = expected_negatives(batch, distances, margin);
  const Semihard first = mine_semihard(batch, margin, 1);
  REQUIRE(first.triplets.rows() == static_cast<int64_t>(expected.size()));
  int64_t wrong = 0;
  for (int64_t k = 0; k < first.triplets.rows(); ++k) {
    const int found = first.triplets.at(k, 2), anchor = first.triplets.at(k, 0);
    wrong += found != expected[static_cast<size_t>(k)];
    const float distance = first.distances.at(k, 1);
    wrong += found < 0 ? !std::isnan(distance) : distance != distances[static_cast<size_t>(anchor * batch.m() + found)];
  }
  CHECK(wrong == 0);
  for (const int threads : other_thread_counts())
    CHECK(mine_semihard(batch, margin, threads).triplets.same_bits(first.triplets));
}

struct Drawn {
  Ints negatives;
  Floats distances;
};

inline Drawn draw_negatives(Batch& batch, int64_t slots, int64_t total, int64_t step, int threads,
                            uint64_t seed = 12345) {
  Context context(threads);
  Scratch scratch = batch.scratch(context);
  duet_mining_inputs inputs = batch.inputs();
  Longs step_view = Longs(1, 1).fill(static_cast<double>(step));
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  draw.seed = seed, draw.step = step_view.vector(), draw.slots = slots, draw.total_columns = total;
  Drawn out{Ints(batch.n(), slots), Floats(batch.n(), slots)};
  inputs.draw = &draw;
  SUCCEED_CALL(
      duet_mining_distance_weighted(context, &inputs,
                                    sized<duet_mining_distance_weighted_outputs>(
                                        {.negatives = out.negatives.matrix(), .distances = out.distances.matrix()}),
                                    scratch.view()));
  return out;
}

}  // namespace duet::test::mining
