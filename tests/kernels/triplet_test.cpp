// The triplet loss against the reference and the golden cases; triplet_parts_test.cpp has parts, edges and misuse.
#include "tests/kernels/triplet_problem.h"
#include "tests/support/golden.h"

using namespace duet::test;
using namespace duet::test::triplet;

TEST_CASE("triplet losses and gradients agree with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    if (!affordable_rows(s.n, s.m)) continue;
    CAPTURE(s.n);
    CAPTURE(s.m);
    Batch batch = batch_of(s, 31, 3);
    for (const bool soft : {true, false})
      for (const duet_triplet_mining mining : kMinings) {
        if (soft && mining != DUET_TRIPLET_MINING_ALL) continue;
        batch.soft = soft, batch.mining = mining;
        CAPTURE(soft);
        CAPTURE(kNames[mining]);
        const auto expected = expected_of(batch);
        const Forward first = forward(batch, 1);
        check_rows(first, expected);
        const double weight = weight_of(expected);
        CHECK(std::abs(first.weight.at(0) - weight) <= reference::total(expected.slack) + 1e-6 * (1 + weight));
        if (weight > 0)
          CHECK(std::abs(first.total.at(0) - reference::total(expected.loss) / weight) <=
                1e-5 + reference::total(expected.slack) / weight);
        else
          CHECK(first.total.at(0) == 0);
        const Gradients gradients = backward(batch, weight, 0.7, zeros(batch), 1);
        check_gradients(gradients, batch, expected, weight, 0.7, kNames[mining]);
        for (const int threads : other_thread_counts()) {
          const Forward again = forward(batch, threads);
          CHECK(again.loss.same_bits(first.loss));
          CHECK(again.active.same_bits(first.active));
          const Gradients once_more = backward(batch, weight, 0.7, zeros(batch), threads);
          CHECK(once_more.x.same_bits(gradients.x));
          CHECK(once_more.y.same_bits(gradients.y));
        }
      }
  }
}

TEST_CASE("triplets of every metric") {
  Batch batch = batch_of({37, 41, 12, 4, true, 0.1}, 32);
  for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE})
    for (const duet_triplet_mining mining : kMinings) {
      batch.metric = metric, batch.mining = mining, batch.soft = mining == DUET_TRIPLET_MINING_ALL;
      CAPTURE(kNames[mining]);
      const auto expected = expected_of(batch);
      check_rows(forward(batch), expected);
      check_gradients(backward(batch, weight_of(expected), 1, zeros(batch)), batch, expected, weight_of(expected), 1,
                      kNames[mining]);
    }
}

TEST_CASE("the reference's triplet gradients are those of its losses") {
  Batch batch = batch_of({5, 6, 3, 2, true, 0}, 33);
  const Doubles values = distances(batch, DUET_METRIC_SQEUCLIDEAN);
  const auto weights =
      reference::agreement(batch.class_x.values(), batch.class_y.values(), batch.trust_y.values(), 5, 6, 2, true);
  const auto loss = [&](const Doubles& at) {
    return reference::total(reference::triplets_all(at, weights, Doubles(5, 0.8), 0.2).loss);
  };
  check_close(reference::triplets_all(values, weights, Doubles(5, 0.8), 0.2).grad, central_differences(loss, values),
              1e-7, "all");
  const auto triplets = reference::mine_semihard(values, list(batch.labels_x), list(batch.labels_y), 0.2);
  const auto mined = [&](const Doubles& at) {
    return reference::total(reference::triplets_mined(at, 5, triplets, 0.2).loss);
  };
  check_close(reference::triplets_mined(values, 5, triplets, 0.2).grad, central_differences(mined, values), 1e-7,
              "mined");
}

TEST_CASE("triplets agree with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    Batch batch{golden.load("A").array(),           golden.load("V").array(),          golden.load("Qa").array(),
                golden.load("Qv").array(),          golden.load("ta").array(),         golden.load("tv").array(),
                golden.load("ya").array<int32_t>(), golden.load("yv").array<int32_t>()};
    if (!affordable_rows(batch.n(), batch.m())) continue;
    batch.paired = golden.fact("paired") != 0;
    batch.margin = static_cast<float>(golden.fact("margin"));
    const double reach = golden.name() == "ties" ? 4 : 1;  // rows up to norm 1.3 there, not 1
    for (const bool soft : {true, false}) {
      batch.soft = soft;
      const std::string kind = soft ? "triplet" : "triplet_hardlabel";
      const reference::TripletSums expected{golden.load(kind + "_row_loss").values,
                                            golden.load(kind + "_row_active").values,
                                            golden.load(kind + "_row_slack").values, Doubles()};
      const Forward actual = forward(batch);
      check_rows(actual, expected);
      const double weight = weight_of(expected);
      const double slack = weight > 0 ? 8 * reach * reference::total(expected.slack) / weight : 0;
      const Gradients gradients = backward(batch, weight, 1, zeros(batch));
      check_relative(gradients.x.values(), golden.load(kind + "_dA").values, 1e-5, kind + " grad_x", slack + 1e-7);
      check_relative(gradients.y.values(), golden.load(kind + "_dV").values, 1e-5, kind + " grad_y", slack + 1e-7);
    }
    for (const duet_triplet_mining mining : {DUET_TRIPLET_MINING_HARD, DUET_TRIPLET_MINING_SEMIHARD}) {
      batch.mining = mining;
      const std::string kind = kNames[mining];
      const auto own = expected_of(batch);  // for the weight and for what float32 cannot tell
      const double weight = weight_of(own), slack = weight > 0 ? 8 * reach * reference::total(own.slack) / weight : 0;
      CHECK(std::abs(forward(batch).total.at(0) - golden.load(kind + "_loss").values[0]) <= 1e-5 + slack);
      const Gradients gradients = backward(batch, weight, 1, zeros(batch));
      check_relative(gradients.x.values(), golden.load(kind + "_dA").values, 1e-5, kind + " grad_x", slack + 1e-7);
      check_relative(gradients.y.values(), golden.load(kind + "_dV").values, 1e-5, kind + " grad_y", slack + 1e-7);
    }
  }
}

TEST_CASE("a triplet on the hinge is inactive, for the loss and for both gradients") {
  // One positive at squared distance 1 and negatives at exactly fl(1 + margin), one ulp below, and far: only the second
  // is active.
  const float margin = 0.25f, below = std::sqrt(std::nextafterf(1.25f, 0));
  Batch batch{Floats(1, 2).fill(0), Floats(4, 2).fill(0), Floats(0, 0),       Floats(0, 0),
              Floats(0, 1),         Floats(0, 1),         Ints(1, 1).fill(0), Ints(4, 1).fill(1)};
  batch.soft = false, batch.margin = margin, batch.labels_y.at(0) = 0;
  batch.y.at(0, 0) = 1;
  batch.y.at(1, 0) = 1, batch.y.at(1, 1) = 0.5f;
  batch.y.at(2, 0) = below;
  batch.y.at(3, 0) = 3;
  const bool active = below * below < 1.25f;
  CHECK(forward(batch).active.at(0) == (active ? 1 : 0));
  const Gradients gradients = backward(batch, 1, 1, zeros(batch));
  CHECK(gradients.y.at(1, 0) == 0);
  CHECK(gradients.y.at(1, 1) == 0);
  CHECK(gradients.y.at(3, 0) == 0);
  CHECK((gradients.y.at(2, 0) != 0) == active);
  batch.margin = 0;  // equal distances never hinge
  batch.y.at(1, 0) = 0, batch.y.at(1, 1) = 1, batch.y.at(2, 0) = 2;
  CHECK(forward(batch).active.at(0) == 0);
}
