#include "tests/reference/triplet.h"

#include <optional>

#include "tests/support/arrays.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;
namespace reference = duet::reference;

namespace {

constexpr int64_t kSlots = 2, kStep = 5;
constexpr uint64_t kSeed = 12345;

struct Batch {
  Floats x, y, class_x, class_y, trust_x, trust_y;
  Ints labels_x, labels_y;
  bool soft = true, paired = true;
  duet_metric metric = DUET_SQEUCLIDEAN;
  duet_triplet_mining mining = DUET_TRIPLET_ALL;
  float margin = 0.2f;
  int64_t first_row = 0, first_column = 0, total_columns = 0;
  Longs step = Longs(1, 1).fill(kStep);

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
    }
    out.metric = metric, out.mining = mining, out.margin = margin, out.paired = paired;
    out.first_row = first_row, out.first_column = first_column;
    out.draw = DUET_MINING_DRAW_INIT;
    out.draw.seed = kSeed, out.draw.slots = kSlots, out.draw.step = step.vector(), out.draw.total_columns = total_columns;
    return out;
  }
};

struct Shape {
  int64_t n, m, d, classes;
  bool paired;
  double unlabelled;
};
const Shape kShapes[] = {{1, 1, 1, 1, true, 0},       {1, 13, 5, 2, true, 0},      {17, 1, 3, 2, false, 0},     {31, 67, 33, 3, false, 0.2},
                         {128, 128, 64, 10, true, 0}, {67, 129, 20, 5, true, 0.4}, {23, 23, 7, 1, false, 0},    {19, 30, 6, 3, false, 1},
                         {0, 5, 3, 2, false, 0},      {5, 0, 3, 2, false, 0},      {150, 310, 9, 40, true, 0.8}};

Batch batch_of(const Shape& s, uint64_t seed, int64_t padding = 0) {
  Draw draw(seed);
  Batch out{draw.unit_rows(s.n, s.d, padding),         draw.unit_rows(s.m, s.d, padding),        draw.distributions(s.n, s.classes),
            draw.distributions(s.m, s.classes),        draw.choice(s.n, {1, 1, 0.6, 0}),         draw.choice(s.m, {1, 1, 0.6, 0}),
            draw.labels(s.n, s.classes, s.unlabelled), draw.labels(s.m, s.classes, s.unlabelled)};
  out.paired = s.paired;
  return out;
}

struct Forward {
  Floats loss, active, total, weight;  // rows', and duet_triplet_loss's
};

Forward forward(Batch& batch, int threads = 2) {
  Context context(threads);
  const duet_triplet_inputs inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Forward out{Floats(batch.n(), 1), Floats(batch.n(), 1), Floats(1, 1), Floats(1, 1)};
  SUCCEED_CALL(duet_triplet_forward(context, &inputs, out.loss.vector(), out.active.vector(), scratch.view()));
  SUCCEED_CALL(duet_triplet_loss(context, out.loss.vector(), out.active.vector(), out.total.vector(), out.weight.vector()));
  return out;
}

struct Gradients {
  Floats x, y;
};

Gradients zeros(const Batch& batch) { return {Floats(batch.n(), batch.d()).fill(0), Floats(batch.m(), batch.d()).fill(0)}; }

Gradients backward(Batch& batch, double active, double upstream, Gradients into, int threads = 2) {
  Context context(threads);
  const duet_triplet_inputs inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Floats weight = Floats(1, 1).fill(active), grad = Floats(1, 1).fill(upstream);
  SUCCEED_CALL(duet_triplet_backward(context, &inputs, weight.vector(), grad.vector(), into.x.matrix(), into.y.matrix(), scratch.view()));
  return into;
}

reference::Labels list(const Ints& labels) {
  reference::Labels out;
  for (int64_t i = 0; i < labels.rows(); ++i) out.push_back(labels.at(i));
  return out;
}

Doubles distances(const Batch& batch, duet_metric metric) {
  return reference::distances(batch.x.values(), batch.y.values(), batch.n(), batch.m(), batch.d(), metric);
}

reference::TripletSums expected_of(const Batch& batch) {
  const Doubles values = distances(batch, batch.metric);
  const auto x = list(batch.labels_x), y = list(batch.labels_y);
  const size_t n = static_cast<size_t>(batch.n());
  switch (batch.mining) {
    case DUET_TRIPLET_HARD: return reference::triplets_mined(values, n, reference::hard_triplets(values, x, y), batch.margin);
    case DUET_TRIPLET_SEMIHARD: {
      auto sums = reference::triplets_mined(values, n, reference::mine_semihard(values, x, y, batch.margin), batch.margin);
      // A choice that float32 may make otherwise: the next negative is within 4e-6 of the one taken, or that one of the bounds.
      const size_t m = y.size();
      for (const auto& t : reference::mine_semihard(values, x, y, batch.margin))
        for (size_t q = 0; q < m; ++q) {
          const double dq = values[static_cast<size_t>(t.anchor) * m + q],
                       dp = values[static_cast<size_t>(t.anchor) * m + static_cast<size_t>(t.positive)];
          const double taken = t.negative < 0 ? dp + batch.margin : values[static_cast<size_t>(t.anchor) * m + static_cast<size_t>(t.negative)];
          if (reference::different(x[static_cast<size_t>(t.anchor)], y[q]) && static_cast<int>(q) != t.negative &&
              (std::abs(dq - taken) <= 4e-6 || std::abs(dq - dp) <= 4e-6))
            sums.slack[static_cast<size_t>(t.anchor)] += 1;
        }
      return sums;
    }
    case DUET_TRIPLET_DISTANCE_WEIGHTED: {
      const auto negatives =
          reference::mine_distance_weighted(distances(batch, DUET_EUCLIDEAN), x, y, batch.d(), kSeed, kStep, kSlots, batch.first_row,
                                            batch.first_column, batch.total_columns ? batch.total_columns : batch.m());
      return reference::triplets_mined(values, n, reference::drawn_triplets(negatives, x, y), batch.margin);
    }
    default: break;
  }
  if (!batch.soft) return reference::triplets_all(values, reference::agreement_of_labels(x, y), Doubles(x.size(), 1), batch.margin);
  const auto weights = reference::agreement(batch.class_x.values(), batch.class_y.values(), batch.trust_y.values(), batch.n(), batch.m(),
                                            batch.class_x.columns(), batch.paired, batch.first_row, batch.first_column);
  return reference::triplets_all(values, weights, batch.trust_x.values(), batch.margin);
}

// Row terms: a triplet's value is off by at most two distances' errors (2e-6 each, METHOD.md 1; Euclidean distances of rows not close: 4e-6) and by
// its weight's few ulps; those within 4e-6 of the hinge may fall on either side.
void check_rows(const Forward& actual, const reference::TripletSums& expected) {
  double loss_off = 0, active_off = 0;
  for (int64_t i = 0; i < actual.loss.rows(); ++i) {
    const size_t k = static_cast<size_t>(i);
    const double allowed = expected.active[k] + expected.slack[k];
    loss_off = std::max(loss_off, std::abs(actual.loss.at(i) - expected.loss[k]) - 1e-5 * allowed);
    active_off = std::max(active_off, std::abs(actual.active.at(i) - expected.active[k]) - expected.slack[k] - 1e-6 * allowed);
  }
  CHECK(loss_off <= 1e-6);  // what ulps of weights near 0 leave
  CHECK(active_off <= 1e-6);
}

double weight_of(const reference::TripletSums& sums) { return reference::total(sums.active); }

void check_gradients(const Gradients& actual, const Batch& batch, const reference::TripletSums& expected, double weight, double upstream,
                     const std::string& what) {
  Doubles grad = expected.grad;
  for (double& value : grad) value *= weight > 0 ? upstream / weight : 0;
  const auto rows = reference::distance_gradients(batch.x.values(), batch.y.values(), batch.n(), batch.m(), batch.d(), batch.metric, grad);
  // A triplet that changes sides moves two distances' gradients, each of norm at most 4 for unit rows.
  const double slack = weight > 0 ? 8 * std::abs(upstream) * reference::total(expected.slack) / weight : 0;
  check_relative(actual.x.values(), rows.x, 1e-5, what + " grad_x", slack + 1e-7);
  check_relative(actual.y.values(), rows.y, 1e-5, what + " grad_y", slack + 1e-7);
}

const duet_triplet_mining kMinings[] = {DUET_TRIPLET_ALL, DUET_TRIPLET_HARD, DUET_TRIPLET_SEMIHARD, DUET_TRIPLET_DISTANCE_WEIGHTED};
const char* const kNames[] = {"all", "hard", "semihard", "distance_weighted"};

}  // namespace

TEST_CASE("one pass leaves forward's terms to the bit and backward's gradients up to their division") {
  for (const Shape& s : kShapes) {
    for (const bool soft : {true, false}) {
      Batch batch = batch_of(s, 41, 2);
      batch.soft = soft;
      CAPTURE(s.n);
      CAPTURE(s.m);
      const Forward terms = forward(batch);
      constexpr double kUpstream = -0.7;
      const Gradients two = backward(batch, terms.weight.at(0), kUpstream, zeros(batch));
      std::optional<Gradients> first;
      for (const int threads : thread_counts()) {
        Context context(threads);
        const duet_triplet_inputs inputs = batch.inputs();
        size_t bytes = 0;
        SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
        Scratch scratch(bytes);
        Floats loss(batch.n(), 1), active(batch.n(), 1), upstream = Floats(1, 1).fill(kUpstream);
        Gradients sums{Floats(batch.n(), batch.d()), Floats(batch.m(), batch.d())}, one = zeros(batch);
        SUCCEED_CALL(
            duet_triplet_forward_gradient(context, &inputs, loss.vector(), active.vector(), sums.x.matrix(), sums.y.matrix(), scratch.view()));
        Floats weight = Floats(1, 1).fill(terms.weight.at(0));
        SUCCEED_CALL(
            duet_triplet_add_gradient(context, weight.vector(), upstream.vector(), sums.x.matrix(), sums.y.matrix(), one.x.matrix(), one.y.matrix()));
        CHECK(loss.values() == terms.loss.values());
        CHECK(active.values() == terms.active.values());
        // Another order of a division: a few ulps of the largest.
        check_relative(one.x.values(), two.x.values(), 1e-6, "grad_x", 1e-8);
        check_relative(one.y.values(), two.y.values(), 1e-6, "grad_y", 1e-8);
        if (!first) first = one;
        CHECK(one.x.values() == first->x.values());
        CHECK(one.y.values() == first->y.values());
      }
    }
  }
}

TEST_CASE("triplet gradients of one pass refuse what does not fit") {
  Context context(1);
  Floats one = Floats(1, 1).fill(1), sum = Floats(3, 2).fill(1), grad = Floats(4, 2).fill(0);
  FAIL_CALL(duet_triplet_add_gradient(context, one.vector(), one.vector(), sum.matrix(), {}, grad.matrix(), {}), DUET_INVALID_ARGUMENT,
            "sum_x: expected 4 x 2, got 3 x 2");
  Floats zero = Floats(1, 1).fill(0), target = Floats(3, 2).fill(5);
  SUCCEED_CALL(duet_triplet_add_gradient(context, zero.vector(), one.vector(), sum.matrix(), {}, target.matrix(), {}));
  CHECK(target.values() == Floats(3, 2).fill(5).values());
}

TEST_CASE("triplet losses and gradients agree with the reference, whatever the threads") {
  for (const Shape& s : kShapes) {
    CAPTURE(s.n);
    CAPTURE(s.m);
    Batch batch = batch_of(s, 31, 3);
    for (const bool soft : {true, false})
      for (const duet_triplet_mining mining : kMinings) {
        if (soft && mining != DUET_TRIPLET_ALL) continue;
        batch.soft = soft, batch.mining = mining;
        CAPTURE(soft);
        CAPTURE(kNames[mining]);
        const auto expected = expected_of(batch);
        const Forward first = forward(batch, 1);
        check_rows(first, expected);
        const double weight = weight_of(expected);
        CHECK(std::abs(first.weight.at(0) - weight) <= reference::total(expected.slack) + 1e-6 * (1 + weight));
        if (weight > 0)
          CHECK(std::abs(first.total.at(0) - reference::total(expected.loss) / weight) <= 1e-5 + reference::total(expected.slack) / weight);
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
  for (const duet_metric metric : {DUET_SQEUCLIDEAN, DUET_EUCLIDEAN, DUET_COSINE})
    for (const duet_triplet_mining mining : kMinings) {
      batch.metric = metric, batch.mining = mining, batch.soft = mining == DUET_TRIPLET_ALL;
      CAPTURE(kNames[mining]);
      const auto expected = expected_of(batch);
      check_rows(forward(batch), expected);
      check_gradients(backward(batch, weight_of(expected), 1, zeros(batch)), batch, expected, weight_of(expected), 1, kNames[mining]);
    }
}

TEST_CASE("the reference's triplet gradients are those of its losses") {
  Batch batch = batch_of({5, 6, 3, 2, true, 0}, 33);
  const Doubles values = distances(batch, DUET_SQEUCLIDEAN);
  const auto weights = reference::agreement(batch.class_x.values(), batch.class_y.values(), batch.trust_y.values(), 5, 6, 2, true);
  const auto loss = [&](const Doubles& at) { return reference::total(reference::triplets_all(at, weights, Doubles(5, 0.8), 0.2).loss); };
  check_close(reference::triplets_all(values, weights, Doubles(5, 0.8), 0.2).grad, central_differences(loss, values), 1e-7, "all");
  const auto triplets = reference::mine_semihard(values, list(batch.labels_x), list(batch.labels_y), 0.2);
  const auto mined = [&](const Doubles& at) { return reference::total(reference::triplets_mined(at, 5, triplets, 0.2).loss); };
  check_close(reference::triplets_mined(values, 5, triplets, 0.2).grad, central_differences(mined, values), 1e-7, "mined");
}

TEST_CASE("triplets agree with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    Batch batch{golden.load("A").array(),  golden.load("V").array(),  golden.load("Qa").array(),          golden.load("Qv").array(),
                golden.load("ta").array(), golden.load("tv").array(), golden.load("ya").array<int32_t>(), golden.load("yv").array<int32_t>()};
    batch.paired = golden.facts["paired"];
    batch.margin = golden.facts["margin"];
    const double reach = golden.name() == "ties" ? 4 : 1;  // rows up to norm 1.3 there, not 1
    for (const bool soft : {true, false}) {
      batch.soft = soft;
      const std::string kind = soft ? "triplet" : "triplet_hardlabel";
      const reference::TripletSums expected{golden.load(kind + "_row_loss").values, golden.load(kind + "_row_active").values,
                                            golden.load(kind + "_row_slack").values, Doubles()};
      const Forward actual = forward(batch);
      check_rows(actual, expected);
      const double weight = weight_of(expected);
      const double slack = weight > 0 ? 8 * reach * reference::total(expected.slack) / weight : 0;
      const Gradients gradients = backward(batch, weight, 1, zeros(batch));
      check_relative(gradients.x.values(), golden.load(kind + "_dA").values, 1e-5, kind + " grad_x", slack + 1e-7);
      check_relative(gradients.y.values(), golden.load(kind + "_dV").values, 1e-5, kind + " grad_y", slack + 1e-7);
    }
    for (const duet_triplet_mining mining : {DUET_TRIPLET_HARD, DUET_TRIPLET_SEMIHARD}) {
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
  // One positive at squared distance 1 and negatives at exactly fl(1 + margin), one ulp below, and far: only the second is active.
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

TEST_CASE("parts of a batch give the whole's rows, and gradients that add up") {
  Batch whole = batch_of({50, 60, 9, 4, true, 0.2}, 34);
  for (const duet_triplet_mining mining : kMinings) {
    CAPTURE(kNames[mining]);
    whole.mining = mining, whole.soft = mining == DUET_TRIPLET_ALL;
    const Forward all = forward(whole);
    const double weight = all.weight.at(0);
    const Gradients expected = backward(whole, weight, 1, zeros(whole));
    Gradients summed = zeros(whole);
    double slack = reference::total(expected_of(whole).slack);
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 21}, {21, 29}}) {
      Batch part = batch_of({count, 60, 9, 4, true, 0.2}, 34);
      part.y = whole.y, part.class_y = whole.class_y, part.trust_y = whole.trust_y, part.labels_y = whole.labels_y;
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t k = 0; k < 9; ++k) part.x.at(i, k) = whole.x.at(first + i, k);
        for (int64_t c = 0; c < 4; ++c) part.class_x.at(i, c) = whole.class_x.at(first + i, c);
        part.trust_x.at(i) = whole.trust_x.at(first + i), part.labels_x.at(i) = whole.labels_x.at(first + i);
      }
      part.mining = mining, part.soft = whole.soft, part.first_row = first, part.total_columns = 60;
      const Forward some = forward(part);
      for (int64_t i = 0; i < count; ++i) {
        CHECK(std::abs(some.active.at(i) - all.active.at(first + i)) <= slack + 1e-6 * all.active.at(first + i));
        CHECK(std::abs(some.loss.at(i) - all.loss.at(first + i)) <= 1e-5 * (1 + all.active.at(first + i)));
      }
      const Gradients into{Floats(count, 9).fill(0), summed.y};
      const Gradients of_part = backward(part, weight, 1, into);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t k = 0; k < 9; ++k) summed.x.at(first + i, k) = of_part.x.at(i, k);
      for (int64_t j = 0; j < 60; ++j)
        for (int64_t k = 0; k < 9; ++k) summed.y.at(j, k) = of_part.y.at(j, k);
    }
    // Tiles of other shapes round otherwise, in the last bits.
    check_relative(summed.x.values(), expected.x.values(), 1e-5, "grad_x", 8 * slack / weight);
    check_relative(summed.y.values(), expected.y.values(), 1e-5, "grad_y", 8 * slack / weight);
  }
}

TEST_CASE("without active triplets the loss is 0 and gradients stay as they are") {
  Batch batch = batch_of({20, 20, 5, 1, true, 0}, 35);  // one class: no negatives
  Draw draw(36);
  for (const duet_triplet_mining mining : kMinings) {
    batch.mining = mining, batch.soft = mining == DUET_TRIPLET_ALL;
    const Forward actual = forward(batch);
    CHECK(actual.total.at(0) == 0);
    CHECK(actual.weight.at(0) == 0);
    const Gradients before{draw.normals(20, 5), draw.normals(20, 5)};
    const Gradients after = backward(batch, 0, 1, before);
    CHECK(after.x.same_bits(before.x));
    CHECK(after.y.same_bits(before.y));
  }
}

TEST_CASE("gradients are added, and one alone is the same") {
  Batch batch = batch_of({33, 29, 6, 3, true, 0}, 37);
  Draw draw(38);
  const double weight = forward(batch).weight.at(0);
  const Gradients before{draw.normals(33, 6), draw.normals(29, 6)};
  const Gradients plain = backward(batch, weight, 1, zeros(batch)), added = backward(batch, weight, 1, before);
  for (int64_t k = 0; k < 6; ++k) {
    CHECK(std::abs(added.x.at(7, k) - (before.x.at(7, k) + plain.x.at(7, k))) <= 1e-6);
    CHECK(std::abs(added.y.at(7, k) - (before.y.at(7, k) + plain.y.at(7, k))) <= 1e-6);
  }
  Context context;
  const duet_triplet_inputs inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Floats active = Floats(1, 1).fill(weight), grad = Floats(1, 1).fill(1);
  Gradients one = zeros(batch);
  SUCCEED_CALL(duet_triplet_backward(context, &inputs, active.vector(), grad.vector(), one.x.matrix(), duet_matrix{}, scratch.view()));
  SUCCEED_CALL(duet_triplet_backward(context, &inputs, active.vector(), grad.vector(), duet_matrix{}, one.y.matrix(), scratch.view()));
  CHECK(one.x.same_bits(plain.x));
  CHECK(one.y.same_bits(plain.y));
}

TEST_CASE("NaN reaches the loss and the gradients") {
  for (const duet_triplet_mining mining : kMinings) {
    CAPTURE(kNames[mining]);
    Batch batch = batch_of({24, 30, 8, 3, false, 0}, 39);
    batch.mining = mining, batch.soft = mining == DUET_TRIPLET_ALL;
    batch.trust_x.fill(1), batch.trust_y.fill(1);
    const double weight = forward(batch).weight.at(0);
    batch.x.at(3, 2) = std::nanf("");
    const Forward actual = forward(batch);
    for (int64_t i = 0; i < 24; ++i) CHECK(std::isnan(actual.loss.at(i)) == (i == 3));
    CHECK(std::isnan(actual.total.at(0)));
    const Gradients gradients = backward(batch, weight, 1, zeros(batch));
    CHECK(std::isnan(gradients.x.at(3, 0)));
    CHECK(std::isnan(gradients.y.at(0, 0)));
  }
  // A sample that takes no part does not matter, whatever it holds.
  Batch batch = batch_of({24, 30, 8, 3, false, 0}, 39);
  batch.soft = false, batch.labels_y.at(5) = -1;
  const Forward before = forward(batch);
  batch.y.at(5, 0) = std::nanf("");
  const Forward after = forward(batch);
  CHECK(after.loss.same_bits(before.loss));
}

TEST_CASE("triplet refuses misuse") {
  Context context;
  Batch batch = batch_of({6, 8, 3, 2, false, 0}, 40);
  duet_triplet_inputs inputs = batch.inputs();
  size_t bytes = 0;
  SUCCEED_CALL(duet_triplet_workspace(context, &inputs, &bytes));
  Scratch scratch(bytes);
  Floats loss(6, 1), active(6, 1), one(1, 1);
  const auto run = [&] { return duet_triplet_forward(context, &inputs, loss.vector(), active.vector(), scratch.view()); };
  SUCCEED_CALL(run());
  FAIL_CALL(duet_triplet_forward(context, &inputs, one.vector(), active.vector(), scratch.view()), DUET_INVALID_ARGUMENT,
            "row_loss: expected 6 elements, got 1");
  FAIL_CALL(duet_triplet_forward(context, &inputs, loss.vector(), active.vector(), {scratch.view().data, bytes - 1}), DUET_WORKSPACE_TOO_SMALL,
            "workspace: expected");
  FAIL_CALL(duet_triplet_loss(context, loss.vector(), one.vector(), one.vector(), one.vector()), DUET_INVALID_ARGUMENT,
            "row_active: expected 6 elements, got 1");
  inputs.margin = -1;
  FAIL_CALL(run(), DUET_INVALID_ARGUMENT, "inputs.margin: expected at least 0, got -1");
  inputs = batch.inputs(), inputs.metric = DUET_INNER;
  FAIL_CALL(run(), DUET_INVALID_ARGUMENT, "inputs.metric: expected sqeuclidean, euclidean or cosine");
  inputs = batch.inputs(), inputs.class_y = batch.class_x.matrix();
  FAIL_CALL(run(), DUET_INVALID_ARGUMENT, "inputs.class_y: expected 8 x 2, got 6 x 2");
  inputs = batch.inputs(), inputs.mining = DUET_TRIPLET_HARD;
  FAIL_CALL(run(), DUET_INVALID_ARGUMENT, "inputs.labels_x: expected");
  batch.soft = false, batch.mining = DUET_TRIPLET_DISTANCE_WEIGHTED;
  inputs = batch.inputs(), inputs.draw.slots = 0;
  FAIL_CALL(run(), DUET_INVALID_ARGUMENT, "inputs.draw.slots: expected at least 1, got 0");
}
