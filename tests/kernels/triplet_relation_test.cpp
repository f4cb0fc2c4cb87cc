// The triplet loss by groups and without own pairs (METHOD.md 2), against the definition.
#include "tests/kernels/triplet_problem.h"

using namespace duet::test;
using namespace duet::test::triplet;

namespace {

struct Kind {
  bool soft;
  duet_triplet_mining mining;
};
constexpr Kind kKinds[] = {{true, DUET_TRIPLET_MINING_ALL},
                           {false, DUET_TRIPLET_MINING_ALL},
                           {false, DUET_TRIPLET_MINING_HARD},
                           {false, DUET_TRIPLET_MINING_SEMIHARD},
                           {false, DUET_TRIPLET_MINING_DISTANCE_WEIGHTED}};

void set(Batch& batch, const Kind& kind) {
  batch.soft = kind.soft, batch.mining = kind.mining;
  batch.total_columns = batch.first_column + batch.m();
}

// Both passes and the forward pass that leaves sums, whatever the threads.
void check_all(Batch& batch) {
  const auto expected = expected_of(batch);
  const double weight = weight_of(expected);
  const Forward first = forward(batch, 1);
  check_rows(first, expected);
  const Gradients gradients = backward(batch, weight, 0.7, zeros(batch), 1);
  check_gradients(gradients, batch, expected, weight, 0.7, kNames[batch.mining]);
  const OnePass pass = one_pass(batch, 1);
  CHECK(pass.loss.same_bits(first.loss));
  CHECK(pass.active.same_bits(first.active));
  check_gradients(pass.sums, batch, expected, 1, 1, kNames[batch.mining]);
  for (const int threads : other_thread_counts()) {
    CHECK(forward(batch, threads).loss.same_bits(first.loss));
    const Gradients again = backward(batch, weight, 0.7, zeros(batch), threads);
    CHECK(again.x.same_bits(gradients.x));
    CHECK(again.y.same_bits(gradients.y));
  }
}

bool same_terms(Batch& a, Batch& b) {
  const OnePass of_a = one_pass(a), of_b = one_pass(b);
  const Gradients back_a = backward(a, 3, 0.7, zeros(a)), back_b = backward(b, 3, 0.7, zeros(b));
  return of_a.loss.same_bits(of_b.loss) && of_a.active.same_bits(of_b.active) && of_a.sums.x.same_bits(of_b.sums.x) &&
         of_a.sums.y.same_bits(of_b.sums.y) && back_a.x.same_bits(back_b.x) && back_a.y.same_bits(back_b.y);
}

Ints ascending(int64_t count, int32_t first) {
  Ints out(count, 1);
  for (int64_t k = 0; k < count; ++k) out.at(k) = first + static_cast<int32_t>(k);
  return out;
}

}  // namespace

TEST_CASE("triplets by groups, and without own pairs, are what the definition says") {
  int64_t ran = 0;
  for (const Shape& s :
       {Shape{1, 1, 3, 2, true, 0}, {9, 14, 5, 3, true, 0.3}, {31, 67, 6, 3, false, 0.2}, {45, 45, 12, 6, true, 0.1}})
    for (const bool groups : {false, true})
      for (const bool exclude_own : {false, true}) {
        if ((!groups && !exclude_own) || !affordable_rows(s.n, s.m)) continue;
        CAPTURE(s.n);
        CAPTURE(s.m);
        CAPTURE(groups);
        CAPTURE(exclude_own);
        Batch batch = batch_of(s, 61, 2);
        Draw draw(62);
        if (groups) batch.group_x = draw.labels(s.n, 12, 0.4), batch.group_y = draw.labels(s.m, 12, 0.4);
        batch.exclude_own = exclude_own;
        for (const auto& first : {std::pair<int64_t, int64_t>{0, 0}, {11, 3}})
          for (const Kind& kind : kKinds) {
            if (first.first == 0 && s.n > 9) continue;
            CAPTURE(first.first);
            CAPTURE(kind.soft);
            CAPTURE(kNames[kind.mining]);
            batch.first_row = first.first, batch.first_column = first.second;
            set(batch, kind);
            check_all(batch);
          }
        ++ran;
      }
  CHECK(ran > 0);
}

TEST_CASE("triplets by groups and without own pairs past the small form, and in rows longer than shared memory") {
  // 257 rows or columns take the tiles; 8200 columns a sort in global memory.
  for (const Shape& s : {Shape{257, 9, 5, 40, true, 0.1}, {9, 257, 5, 40, true, 0.1}, {4, 8200, 3, 2, true, 0}}) {
    if (!affordable_rows(s.n, s.m)) continue;
    CAPTURE(s.m);
    Batch batch = batch_of(s, 63, 1);
    Draw draw(64);
    batch.group_x = draw.labels(s.n, 200, 0.1), batch.group_y = draw.labels(s.m, 200, 0.1), batch.exclude_own = true;
    if (s.m > 1000) {  // few positives: the reference takes every triplet
      batch.labels_x.fill(0), batch.labels_y.fill(1), batch.class_x.fill(0), batch.class_y.fill(0);
      for (int64_t i = 0; i < s.n; ++i) batch.class_x.at(i, 0) = 1;
      for (int64_t j = 0; j < s.m; ++j) batch.class_y.at(j, 1) = 1;
    }
    for (const Kind& kind : kKinds) {
      if (kind.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED) continue;
      CAPTURE(kNames[kind.mining]);
      set(batch, kind);
      const auto expected = expected_of(batch);
      const OnePass actual = one_pass(batch);
      check_rows({actual.loss, actual.active, Floats(1, 1), Floats(1, 1)}, expected);
      check_gradients(actual.sums, batch, expected, 1, 1, kNames[batch.mining]);
    }
  }
}

TEST_CASE("the reference's gradients by groups are those of its losses") {
  Batch batch = batch_of({5, 6, 3, 2, true, 0.2}, 65);
  Draw draw(66);
  batch.group_x = draw.labels(5, 3, 0.3), batch.group_y = draw.labels(6, 3, 0.3), batch.exclude_own = true;
  const Doubles values = distances(batch, DUET_METRIC_SQEUCLIDEAN), trust(5, 0.8);
  for (const bool soft : {false, true}) {
    batch.soft = soft;
    const auto weights = weights_of(batch);
    const auto loss = [&](const Doubles& at) {
      return reference::total(reference::triplets_all(at, weights, trust, 0.2).loss);
    };
    check_close(reference::triplets_all(values, weights, trust, 0.2).grad, central_differences(loss, values), 1e-7,
                "all");
  }
}

TEST_CASE("triplets of one group alone are none; groups of a row each, or of none, change nothing") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.soft);
    CAPTURE(kNames[kind.mining]);
    Batch plain = batch_of({20, 30, 5, 3, true, 0.2}, 67);
    set(plain, kind);
    Batch one = plain;
    one.group_x = Ints(20, 1).fill(0), one.group_y = Ints(30, 1).fill(0);
    CHECK(forward(one).weight.at(0) == 0);
    CHECK(one_pass(one).sums.y.values() == zeros(one).y.values());
    Batch each = plain;
    each.group_x = ascending(20, 0), each.group_y = ascending(30, 100);
    CHECK(same_terms(each, plain));
    each.group_x.fill(-1), each.group_y.fill(-1);
    CHECK(same_terms(each, plain));
    // Parts that do not meet have no own pair.
    Batch apart = plain;
    apart.first_row = 30, apart.total_columns = 60;
    Batch without = apart;
    without.exclude_own = true;
    CHECK(same_terms(apart, without));
    Batch single = batch_of({1, 1, 3, 2, true, 0}, 68);
    set(single, kind);
    single.exclude_own = true, single.group_x = single.group_y = Ints(1, 1).fill(5);
    CHECK(forward(single).weight.at(0) == 0);
  }
}

TEST_CASE("an own pair left out is in no triplet, paired or not") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.soft);
    CAPTURE(kNames[kind.mining]);
    Batch batch = batch_of({24, 24, 6, 4, true, 0.1}, 69);
    set(batch, kind);
    batch.exclude_own = true;
    check_all(batch);
    Batch unpaired = batch;
    unpaired.paired = false;
    CHECK(same_terms(batch, unpaired));
  }
}

TEST_CASE("parts of a batch by groups give the whole's rows, and gradients that add up") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.soft);
    CAPTURE(kNames[kind.mining]);
    Batch whole = batch_of({40, 50, 7, 4, true, 0.2}, 70);
    Draw draw(71);
    whole.group_x = draw.labels(40, 9, 0.3), whole.group_y = draw.labels(50, 9, 0.3), whole.exclude_own = true;
    set(whole, kind);
    const auto expected = expected_of(whole);
    const double weight = weight_of(expected);
    Gradients summed = zeros(whole);
    for (const auto& rows : {std::pair<int64_t, int64_t>{0, 17}, {17, 23}}) {
      const int64_t first = rows.first, count = rows.second;
      Batch part = batch_of({count, 50, 7, 4, true, 0.2}, 70);
      part.y = whole.y, part.class_y = whole.class_y, part.trust_y = whole.trust_y, part.labels_y = whole.labels_y;
      part.group_x = Ints(count, 1), part.group_y = whole.group_y, part.exclude_own = true, part.first_row = first;
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t k = 0; k < 7; ++k) part.x.at(i, k) = whole.x.at(first + i, k);
        for (int64_t c = 0; c < 4; ++c) part.class_x.at(i, c) = whole.class_x.at(first + i, c);
        part.trust_x.at(i) = whole.trust_x.at(first + i), part.labels_x.at(i) = whole.labels_x.at(first + i);
        part.group_x.at(i) = whole.group_x.at(first + i);
      }
      set(part, kind);
      check_rows(forward(part), expected_of(part));
      const Gradients into{Floats(count, 7).fill(0), summed.y};
      const Gradients of_part = backward(part, weight, 1, into);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t k = 0; k < 7; ++k) summed.x.at(first + i, k) = of_part.x.at(i, k);
      summed.y = of_part.y;
    }
    check_gradients(summed, whole, expected, weight, 1, kNames[kind.mining]);
  }
}

TEST_CASE("what weighs nothing is not seen, be it NaN: an own pair left out, the classes and trust of a group") {
  const float nan = std::nanf("");
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.soft);
    CAPTURE(kNames[kind.mining]);
    Batch batch = batch_of({3, 4, 2, 2, true, 0}, 72);
    set(batch, kind);
    batch.margin = 4;
    batch.labels_x.fill(0), batch.labels_y.fill(0), batch.labels_y.at(3) = 1;
    batch.trust_x.fill(1), batch.trust_y.fill(1);
    // Row 0 alone sees column 0, as its own pair.
    batch.labels_y.at(0) = -1, batch.trust_y.at(0) = 0;
    batch.group_x = ascending(3, 0), batch.group_y = ascending(4, 0);
    batch.y.at(0, 1) = nan;
    CHECK(std::isnan(forward(batch).loss.at(0)));
    CHECK(!std::isnan(forward(batch).loss.at(1)));
    batch.exclude_own = true;
    const Forward without = forward(batch);
    for (int64_t i = 0; i < 3; ++i) CHECK(!std::isnan(without.loss.at(i)));
    check_rows(without, [&] {
      Batch finite = batch;
      finite.y.at(0, 1) = 0;
      return expected_of(finite);
    }());
    // A row without a label is NaN through its group.
    if (kind.soft) continue;
    batch.exclude_own = false, batch.labels_x.at(0) = -1;
    CHECK(std::isnan(forward(batch).loss.at(0)));
  }
  Batch batch = batch_of({3, 4, 2, 2, true, 0}, 73);
  batch.trust_x.fill(1), batch.trust_y.fill(1), batch.margin = 4;
  batch.group_x = Ints(3, 1).fill(2), batch.group_y = Ints(4, 1).fill(-1), batch.group_y.at(1) = 2;
  const Forward before = forward(batch);
  CHECK(before.weight.at(0) > 0);
  batch.class_y.at(1, 0) = nan, batch.trust_y.at(1) = nan;
  CHECK(forward(batch).loss.same_bits(before.loss));
  batch.group_y.at(1) = -1;
  CHECK(std::isnan(forward(batch).loss.at(0)));
}

TEST_CASE("triplet refuses groups of one side alone, and of another length") {
  Context context;
  Ints six = Ints(6, 1).fill(0), eight = Ints(8, 1).fill(0);
  size_t bytes = 0;
  for (const Kind& kind : kKinds) {
    Batch batch = batch_of({6, 8, 3, 2, true, 0}, 74);
    set(batch, kind);
    const auto refuses = [&](const char* message, auto&& change) {
      duet_triplet_inputs inputs = batch.inputs();
      change(inputs);
      FAIL_CALL(duet_triplet_workspace(context, &inputs, &bytes), DUET_STATUS_INVALID_ARGUMENT, message);
    };
    refuses("inputs.group_y: expected dtype i32", [&](auto& in) { in.group_x = six.vector(); });
    refuses("inputs.group_x: expected dtype i32", [&](auto& in) { in.group_y = eight.vector(); });
    refuses("inputs.group_y: expected 8 elements, got 6", [&](auto& in) { in.group_x = in.group_y = six.vector(); });
  }
}

TEST_CASE("triplets by label sets are what the definition says") {
  int64_t ran = 0;
  // 257 rows or columns take the tiles.
  for (const Shape& s : {Shape{1, 1, 3, 1, true, 0},
                         {9, 14, 5, 3, true, 0.3},
                         {31, 67, 6, 9, false, 0.2},
                         {257, 9, 5, 40, true, 0.1},
                         {9, 257, 5, 40, true, 0.1}})
    for (const bool groups : {false, true}) {
      if (!affordable_rows(s.n, s.m)) continue;
      CAPTURE(s.n);
      CAPTURE(s.m);
      CAPTURE(groups);
      Batch batch = batch_of(s, 67, 2);
      Draw draw(68);
      batch.label_sets = draw_label_table(draw, s.classes, 33, 0.05, 1);
      batch.labels_x = draw.labels(s.n, s.classes + 2, 0.2), batch.labels_y = draw.labels(s.m, s.classes + 2, 0.2);
      if (groups)
        batch.group_x = draw.labels(s.n, 12, 0.4), batch.group_y = draw.labels(s.m, 12, 0.4), batch.exclude_own = true;
      for (const Kind& kind : kKinds) {
        if (kind.soft) continue;
        CAPTURE(kNames[kind.mining]);
        set(batch, kind);
        check_all(batch);
        ++ran;
      }
    }
  CHECK(ran > 0);
}

TEST_CASE("triplets refuse label sets beside classes") {
  Context context;
  Batch batch = batch_of({5, 6, 3, 2, true, 0}, 69);
  batch.label_sets = {{{0}, {1}}, 2};
  auto inputs = batch.inputs();
  inputs.label_sets = batch.label_sets.words.matrix();
  Floats loss(5, 1), active(5, 1);
  FAIL_CALL(
      duet_triplet_forward(context, &inputs,
                           sized<duet_triplet_outputs>({.row_loss = loss.vector(), .row_active = active.vector()}), {}),
      DUET_STATUS_INVALID_ARGUMENT, "inputs.label_sets: expected null with inputs.class_x and class_y");
}
