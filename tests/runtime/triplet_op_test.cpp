// The triplet node in all its mining modes, against METHOD.md 3 with every triplet written out.
#include "tests/reference/agreement.h"
#include "tests/reference/alignment.h"
#include "tests/support/gradcheck.h"

using namespace duet;
using namespace duet::test;

namespace {

constexpr int64_t kRows = 7, kColumns = 5, kWidth = 4, kClasses = 3;
constexpr float kMargin = 0.5f;
const int64_t kStep = 3;

struct Batch {
  Draw draw{31};
  Floats x = draw.unit_rows(kRows, kWidth), y = draw.unit_rows(kColumns, kWidth);
  Floats class_x = draw.distributions(kRows, kClasses), class_y = draw.distributions(kColumns, kClasses);
  Floats trust_x = draw.choice(kRows, {0, 0.5, 1}), trust_y = draw.choice(kColumns, {0.5, 1});
  Ints labels_x = std::move(Ints(kRows, 1).assign({0, 1, 2, 0, 1, -1, 0})),
       labels_y = std::move(Ints(kColumns, 1).assign({0, 1, 2, 1, 0}));
  Ints drawn{kRows, 1};  // distance_weighted's negatives

  duet_mining_draw of_step = DUET_MINING_DRAW_INIT;  // what options() refers to

  duet_triplet_inputs options(duet_triplet_mining mining) {
    duet_triplet_inputs options = DUET_TRIPLET_INPUTS_INIT;
    options.mining = mining;
    options.metric = mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED ? DUET_METRIC_EUCLIDEAN : DUET_METRIC_SQEUCLIDEAN;
    options.margin = kMargin;
    if (mining == DUET_TRIPLET_MINING_ALL) {
      options.class_x = class_x.matrix(), options.class_y = class_y.matrix();
      options.trust_x = trust_x.vector(), options.trust_y = trust_y.vector();
      options.paired = 1;
    } else {
      options.labels_x = labels_x.vector(), options.labels_y = labels_y.vector();
    }
    if (mining != DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) return options;
    of_step.seed = 5, of_step.step = duet_i64_const_vector(&kStep, 1), of_step.slots = 1;
    options.draw = &of_step;
    return options;
  }

  void draw_negatives(const duet_mining_draw& how) {
    duet_mining_inputs inputs = DUET_MINING_INPUTS_INIT;
    inputs.x = x.matrix(), inputs.y = y.matrix(), inputs.metric = DUET_METRIC_EUCLIDEAN;
    inputs.labels_x = labels_x.vector(), inputs.labels_y = labels_y.vector();
    Context context(1);
    size_t bytes = 0;
    SUCCEED_CALL(duet_mining_workspace(context, &inputs, &bytes));
    Scratch scratch(bytes);
    inputs.draw = &how;
    SUCCEED_CALL(duet_mining_distance_weighted(
        context, &inputs, sized<duet_mining_distance_weighted_outputs>({.negatives = drawn.matrix()}), scratch.view()));
  }

  // The weight of the triplet (i, p, n) before its hinge, given the distances from anchor i.
  double weight(duet_triplet_mining mining, const double* d, const Doubles& same, int64_t i, int64_t p,
                int64_t n) const {
    if (mining == DUET_TRIPLET_MINING_ALL) {
      const double pos = p == i ? 1 : same[i * kColumns + p] * trust_y.at(p),
                   neg = n == i ? 0 : (1 - same[i * kColumns + n]) * trust_y.at(n);
      return trust_x.at(i) * pos * neg;
    }
    const auto positive = [&](int64_t j) { return labels_x.at(i) >= 0 && labels_x.at(i) == labels_y.at(j); };
    const auto negative = [&](int64_t j) {
      return labels_x.at(i) >= 0 && labels_y.at(j) >= 0 && labels_x.at(i) != labels_y.at(j);
    };
    if (!positive(p) || !negative(n)) return 0;
    if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) return n == drawn.at(i);
    for (int64_t j = 0; j < kColumns; ++j) {
      if (mining == DUET_TRIPLET_MINING_HARD && ((positive(j) && d[j] > d[p]) || (negative(j) && d[j] < d[n])))
        return 0;
      if (mining == DUET_TRIPLET_MINING_SEMIHARD && (d[n] <= d[p] || (negative(j) && d[j] > d[p] && d[j] < d[n])))
        return 0;
    }
    return 1;
  }
};

}  // namespace

TEST_CASE("triplet: all by weights, and mined by labels") {
  for (const auto mining : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                            DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}) {
    CAPTURE(mining);
    Batch batch;
    const duet_triplet_inputs options = batch.options(mining);
    if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) batch.draw_negatives(*options.draw);
    const Doubles same = reference::agreement(batch.class_x.values(), batch.class_y.values(), Doubles(kColumns, 1.0),
                                              kRows, kColumns, kClasses, false)
                             .positive;
    gradcheck(
        "triplet", {batch.x, batch.y},
        [&](Tape& tape, const auto& in) { return ops::triplet(tape, in[0], in[1], options); },
        [&](const auto& in) {
          const Doubles d = reference::distances(in[0], in[1], kRows, kColumns, kWidth, options.metric);
          double loss = 0, active = 0;
          for (int64_t i = 0; i < kRows; ++i)
            for (int64_t p = 0; p < kColumns; ++p)
              for (int64_t n = 0; n < kColumns; ++n) {
                const double* from = &d[i * kColumns];
                const double hinge = from[p] + kMargin - from[n], weight = batch.weight(mining, from, same, i, p, n);
                if (hinge > 0) loss += weight * hinge, active += weight;
              }
          CHECK(active > 0);
          return loss / active;
        });
  }
}
