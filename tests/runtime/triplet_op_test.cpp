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
  Ints group_x = std::move(Ints(kRows, 1).assign({4, -1, 2, -1, -1, 2, -1})),
       group_y = std::move(Ints(kColumns, 1).assign({-1, 4, 2, -1, 9}));
  bool related = false;  // by groups, and without own pairs
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
    if (related) options.group_x = group_x.vector(), options.group_y = group_y.vector(), options.exclude_own = 1;
    if (mining != DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) return options;
    of_step.seed = 5, of_step.step = duet_i64_const_vector(&kStep, 1), of_step.slots = 1;
    options.draw = &of_step;
    return options;
  }

  void draw_negatives(const duet_mining_draw& how) {
    duet_mining_inputs inputs = DUET_MINING_INPUTS_INIT;
    inputs.x = x.matrix(), inputs.y = y.matrix(), inputs.metric = DUET_METRIC_EUCLIDEAN;
    inputs.labels_x = labels_x.vector(), inputs.labels_y = labels_y.vector();
    if (related) inputs.group_x = group_x.vector(), inputs.group_y = group_y.vector(), inputs.exclude_own = 1;
    Context context(1);
    size_t bytes = 0;
    SUCCEED_CALL(duet_mining_workspace(context, &inputs, &bytes));
    Scratch scratch(bytes);
    inputs.draw = &how;
    SUCCEED_CALL(duet_mining_distance_weighted(
        context, &inputs, sized<duet_mining_distance_weighted_outputs>({.negatives = drawn.matrix()}), scratch.view()));
  }

  reference::Weights pairs(duet_triplet_mining mining) const {
    const auto list = [](const Ints& numbers) {
      std::vector<int> out;
      for (int64_t i = 0; i < numbers.rows(); ++i) out.push_back(numbers.at(i));
      return out;
    };
    reference::Weights out = mining == DUET_TRIPLET_MINING_ALL
                                 ? reference::agreement(class_x.values(), class_y.values(), trust_y.values(), kRows,
                                                        kColumns, kClasses, true)
                                 : reference::agreement_of_labels(list(labels_x), list(labels_y));
    if (related) reference::relate(out, list(group_x), list(group_y), true, kRows, kColumns);
    return out;
  }

  // The weight of the triplet (i, p, n) before its hinge, given the distances from anchor i.
  double weight(duet_triplet_mining mining, const double* d, const reference::Weights& pairs, int64_t i, int64_t p,
                int64_t n) const {
    if (mining == DUET_TRIPLET_MINING_ALL)
      return trust_x.at(i) * pairs.positive[i * kColumns + p] * pairs.negative[i * kColumns + n];
    const auto positive = [&](int64_t j) { return pairs.positive[i * kColumns + j] > 0; };
    const auto negative = [&](int64_t j) { return pairs.negative[i * kColumns + j] > 0; };
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

TEST_CASE("triplet: all by weights, and mined by labels, with groups and without own pairs too") {
  for (const bool related : {false, true})
    for (const auto mining : {DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD,
                              DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}) {
      CAPTURE(related);
      CAPTURE(mining);
      Batch batch;
      batch.related = related;
      const duet_triplet_inputs options = batch.options(mining);
      if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) batch.draw_negatives(*options.draw);
      const reference::Weights pairs = batch.pairs(mining);
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
                  const double hinge = from[p] + kMargin - from[n], weight = batch.weight(mining, from, pairs, i, p, n);
                  if (hinge > 0) loss += weight * hinge, active += weight;
                }
            CHECK(active > 0);
            return loss / active;
          });
    }
}
