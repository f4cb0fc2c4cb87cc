// A batch for the mining tests and its calls through the C interface.
#pragma once

#include "tests/reference/mining.h"
#include "tests/support/arrays.h"

namespace duet::test::mining {

namespace reference = duet::reference;

struct Batch {
  Floats x, y;
  Ints labels_x, labels_y;
  duet_metric metric = DUET_METRIC_SQEUCLIDEAN;
  int64_t first_row = 0, first_column = 0;

  int64_t n() const { return x.rows(); }
  int64_t m() const { return y.rows(); }
  duet_mining_inputs inputs() {
    duet_mining_inputs out = DUET_MINING_INPUTS_INIT;
    out.x = x.matrix(), out.y = y.matrix(), out.labels_x = labels_x.vector(), out.labels_y = labels_y.vector();
    out.metric = metric, out.first_row = first_row, out.first_column = first_column;
    return out;
  }
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
