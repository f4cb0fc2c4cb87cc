// A batch's triplets in parts of its anchors: a row has its bits in any part, and the derivatives by y of the nodes of
// METHOD.md 0.1 add up to those of the whole batch, bit for bit.
#include "tests/kernels/row_tree_parts.h"
#include "tests/kernels/triplet_problem.h"
#include "tests/support/annotated_rows.h"
#include "tests/support/simd_targets.h"

using namespace duet::test;
using namespace duet::test::triplet;

namespace {

constexpr int64_t kAnchors[] = {0, 1, 31, 32, 33, 97, 200};
constexpr int64_t kColumns = 131, kFeatures = 37, kClasses = 4, kPadding = 3;

// What decides which pairs weigh, and the triplets that are taken.
struct Kind {
  bool soft;
  duet_triplet_mining mining;
};
constexpr Kind kKinds[] = {{true, DUET_TRIPLET_MINING_ALL},
                           {false, DUET_TRIPLET_MINING_ALL},
                           {false, DUET_TRIPLET_MINING_HARD},
                           {false, DUET_TRIPLET_MINING_SEMIHARD},
                           {false, DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}};

Batch anchors(int64_t n, const Kind& kind, int64_t m = kColumns, int64_t d = kFeatures) {
  Batch out = batch_of({n, m, d, kClasses, true, 0.2}, 81, kPadding);
  out.soft = kind.soft, out.mining = kind.mining;
  out.first_row = 7, out.first_column = 3, out.total_columns = m + out.first_column;
  return out;
}

// The inputs of the anchors first, ... alone.
duet_triplet_inputs part_of(Batch& batch, int64_t first, int64_t count) {
  duet_triplet_inputs out = batch.inputs();
  const auto rows = [&](duet_const_matrix& of, Floats& values) {
    if (of.data) of = values.part(first, 0, count, values.columns());
  };
  const auto elements = [&](duet_const_vector& of, auto& values) {
    if (of.data) of = duet_vector{values.data() + first, count, of.dtype};
  };
  rows(out.x, batch.x), rows(out.class_x, batch.class_x);
  elements(out.trust_x, batch.trust_x), elements(out.labels_x, batch.labels_x);
  elements(out.group_x, batch.group_x), elements(out.annotated_x, batch.annotated_x);
  out.first_row += first;
  return out;
}

// One NaN for all, whose sign and payload depend on the order of an addition's operands.
void settle_nan(Floats& values) {
  for (int64_t i = 0; i < values.rows(); ++i)
    for (int64_t k = 0; k < values.columns(); ++k)
      if (std::isnan(values.at(i, k))) values.at(i, k) = std::nanf("");
}

OnePass one_pass_of(Batch& batch, int64_t first, int64_t count, int threads) {
  Context context(threads);
  const duet_triplet_inputs inputs = part_of(batch, first, count);
  const int64_t d = batch.d();
  OnePass out{Floats(count, 1), Floats(count, 1), {Floats(count, d), Floats(batch.m(), d, 2)}};
  SUCCEED_CALL(duet_triplet_forward(context, &inputs,
                                    sized<duet_triplet_outputs>({.row_loss = out.loss.vector(),
                                                                 .row_active = out.active.vector(),
                                                                 .sum_x = out.sums.x.matrix(),
                                                                 .sum_y = out.sums.y.matrix()}),
                                    scratch_for(context, inputs).view()));
  for (Floats* each : {&out.loss, &out.active, &out.sums.x, &out.sums.y}) settle_nan(*each);
  return out;
}

// The rows of the backward pass's gradients: grad_x, and grad_y added to zeros.
Gradients backward_of(Batch& batch, int64_t first, int64_t count, int threads) {
  Context context(threads);
  const duet_triplet_inputs inputs = part_of(batch, first, count);
  Floats active = Floats(1, 1).fill(3), upstream = Floats(1, 1).fill(-0.7);
  Gradients out{Floats(count, batch.d()).fill(0), Floats(batch.m(), batch.d()).fill(0)};
  SUCCEED_CALL(duet_triplet_backward(context, &inputs,
                                     sized<duet_triplet_gradients>({.active = active.vector(),
                                                                    .grad_loss = upstream.vector(),
                                                                    .grad_x = out.x.matrix(),
                                                                    .grad_y = out.y.matrix()}),
                                     scratch_for(context, inputs).view()));
  for (Floats* each : {&out.x, &out.y}) settle_nan(*each);
  return out;
}

void check_rows_of(const Floats& whole, const Floats& part, int64_t first) {
  for (int64_t i = 0; i < part.rows(); ++i)
    for (int64_t k = 0; k < part.columns(); ++k)
      REQUIRE(std::bit_cast<uint32_t>(part.at(i, k)) == std::bit_cast<uint32_t>(whole.at(first + i, k)));
}

// The rows of parts of several sizes, in either pass.
void check_rows_of_parts(Batch& batch) {
  const int64_t n = batch.n();
  const OnePass whole = one_pass_of(batch, 0, n, 2);
  const Floats grad_x = backward_of(batch, 0, n, 2).x;
  for (const auto& part : {std::pair<int64_t, int64_t>{0, 1}, {0, 32}, {32, 1}, {32, 65}, {64, 136}, {96, 1}}) {
    const int64_t first = part.first, count = std::min(part.second, n - first);
    if (count < 0) continue;
    CAPTURE(first);
    const OnePass rows = one_pass_of(batch, first, count, 1);
    check_rows_of(whole.loss, rows.loss, first);
    check_rows_of(whole.active, rows.active, first);
    check_rows_of(whole.sums.x, rows.sums.x, first);
    check_rows_of(grad_x, backward_of(batch, first, count, 1).x, first);
  }
}

// And the sums by y of all nodes.
void check_parts(Batch& batch) {
  check_rows_of_parts(batch);
  check_parts_add_up(batch.n(), [&](int64_t first, int64_t count, int threads) {
    return std::vector<Floats>{one_pass_of(batch, first, count, threads).sums.y,
                               backward_of(batch, first, count, threads).y};
  });
}

// Where something is active, so that no comparison is of zeros alone.
void check_active(Batch& batch) {
  check_parts(batch);
  if (batch.n() >= 31) CHECK(reference::total(one_pass_of(batch, 0, batch.n(), 1).active.values()) > 0);
}

}  // namespace

TEST_CASE("triplets of parts of the anchors give the whole batch, bit for bit") {
  for (const int64_t n : kAnchors)
    for (const Kind& kind : kKinds) {
      CAPTURE(n);
      CAPTURE(kind.soft);
      CAPTURE(kNames[kind.mining]);
      Batch batch = anchors(n, kind);
      check_active(batch);
    }
}

TEST_CASE("triplets of parts by groups, without own pairs and unpaired give the whole batch") {
  Draw draw(82);
  for (const Kind& kind : kKinds)
    for (const bool groups : {false, true})
      for (const bool exclude_own : {false, true}) {
        CAPTURE(kind.soft);
        CAPTURE(kNames[kind.mining]);
        CAPTURE(groups);
        CAPTURE(exclude_own);
        Batch batch = anchors(97, kind);
        batch.paired = groups != exclude_own, batch.exclude_own = exclude_own;
        if (groups) batch.group_x = draw.labels(97, 12, 0.4), batch.group_y = draw.labels(kColumns, 12, 0.4);
        check_active(batch);
      }
}

TEST_CASE("triplets of parts with annotated rows, and of label sets, give the whole batch") {
  Draw draw(83);
  Batch batch = anchors(97, kKinds[0]);
  batch.annotated_x = annotate(draw, batch.class_x, 0.5), batch.annotated_y = annotate(draw, batch.class_y, 0.5);
  check_active(batch);
  for (const Kind& kind : kKinds) {
    if (kind.soft) continue;
    CAPTURE(kNames[kind.mining]);
    Batch by_sets = anchors(97, kind);
    by_sets.label_sets = draw_label_table(draw, kClasses, 40, 0.02);
    check_active(by_sets);
  }
}

TEST_CASE("triplets of parts without positives, or without weight, are 0 as those of the whole batch") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.soft);
    CAPTURE(kNames[kind.mining]);
    Batch batch = anchors(97, kind);
    batch.paired = false;
    batch.labels_x.fill(0), batch.labels_y.fill(1), batch.class_x.fill(0), batch.class_y.fill(0);
    for (int64_t i = 0; i < batch.n(); ++i) batch.class_x.at(i, 0) = 1;
    for (int64_t j = 0; j < batch.m(); ++j) batch.class_y.at(j, 1) = 1;
    check_parts(batch);
    const OnePass pass = one_pass_of(batch, 0, batch.n(), 2);
    for (const Floats* each : {&pass.loss, &pass.active, &pass.sums.x, &pass.sums.y})
      for (const double value : each->values()) REQUIRE(value == 0);
  }
}

TEST_CASE("NaN of an anchor, or of a column, is where it is in the whole batch") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.soft);
    CAPTURE(kNames[kind.mining]);
    for (const int64_t anchor : {0, 31, 32, 96}) {
      CAPTURE(anchor);
      Batch batch = anchors(97, kind);
      batch.trust_y.fill(1);
      batch.labels_x.at(anchor) = 1;
      batch.x.at(anchor, 2) = std::nanf("");
      check_parts(batch);
      const OnePass pass = one_pass_of(batch, 0, 97, 1);
      for (int64_t i = 0; i < 97; ++i) CHECK(std::isnan(pass.loss.at(i)) == (i == anchor));
      for (int64_t j = 0; j < kColumns; ++j) CHECK(std::isnan(pass.sums.y.at(j, 2)));
    }
    Batch batch = anchors(97, kind);
    batch.trust_y.fill(1);
    batch.labels_y.at(5) = 1;
    batch.y.at(5, 1) = std::nanf("");
    check_parts(batch);
  }
}

TEST_CASE("an anchor has its loss and its gradient in any part, by every metric") {
  for (const duet_metric metric : {DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE})
    for (const Kind& kind : kKinds) {
      CAPTURE(metric);
      CAPTURE(kind.soft);
      CAPTURE(kNames[kind.mining]);
      Batch batch = anchors(200, kind);
      batch.metric = metric;
      for (int64_t k = 0; k < batch.d(); ++k)  // rows that are equal, or close
        batch.y.at(40, k) = batch.x.at(32, k), batch.y.at(41, k) = 1.0001f * batch.x.at(33, k);
      check_rows_of_parts(batch);
    }
}

TEST_CASE("anchors of several blocks have one order of their sums, however long their rows") {
  // 2^18 elements are 7 groups of 16 rows of 33,000 columns, of which a block takes 4, and one of 132,000.
  for (const auto& shape : {std::pair<int64_t, int64_t>{300, 50}, {128, 33000}, {32, 132000}}) {
    CAPTURE(shape.second);
    Batch batch = anchors(shape.first, {false, DUET_TRIPLET_MINING_HARD}, shape.second, 2);
    check_parts_add_up(batch.n(), [&](int64_t first, int64_t count, int threads) {
      return std::vector<Floats>{one_pass_of(batch, first, count, threads).sums.y};
    });
  }
}

TEST_CASE("wide features and one feature have one order of their sums") {
  for (const int64_t d : {1, 16, 128, 300}) {
    CAPTURE(d);
    Batch batch = anchors(97, kKinds[1], 70, d);
    check_parts(batch);
  }
}

TEST_CASE("triplets of parts give the whole batch on every SIMD target") {
  for_each_simd_target([] {
    Batch batch = anchors(97, kKinds[0]);
    check_active(batch);
  });
}

TEST_CASE("triplet derivatives of many anchors are within a tree's error of those in double") {
  for (const int64_t n : kAnchors) {
    CAPTURE(n);
    // By hard labels, with every negative within reach: all weights are whole numbers, which both sides share.
    Batch batch = anchors(n, kKinds[1]);
    batch.margin = 8;
    const auto expected = expected_of(batch);
    REQUIRE(reference::total(expected.slack) == 0);
    const OnePass actual = one_pass_of(batch, 0, n, 2);
    for (int64_t j = 0; j < kColumns; ++j)
      for (int64_t k = 0; k < kFeatures; ++k) {
        double exact = 0, size = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double h = -2 * expected.grad[static_cast<size_t>(i * kColumns + j)], x = batch.x.at(i, k),
                       y = batch.y.at(j, k);
          exact += h * (x - y);
          size += std::abs(h) * (std::abs(x) + std::abs(y));
        }
        // A term is rounded once in a chain of 16, with y's multiple and once a level of the tree, and the chain's sum
        // of factors once: half an ulp of at most the terms' sizes each time.
        const double roundings = static_cast<double>(kTreeRows + 2 + tree_depth(n)) * 6e-8;
        REQUIRE(std::abs(actual.sums.y.at(j, k) - exact) <= roundings * size);
      }
  }
}
