// Mining by groups and without own pairs (METHOD.md 2), against the definition.
#include "tests/kernels/mining_problem.h"

using namespace duet::test;
using namespace duet::test::mining;

namespace {

constexpr int64_t kSlots = 2;

struct Mined {
  BothSides hard;
  Semihard semihard;
  Drawn drawn;

  bool same_bits(const Mined& other) const {
    return hard.rows.same_bits(other.hard.rows) && hard.columns.same_bits(other.hard.columns) &&
           semihard.triplets.same_bits(other.semihard.triplets) &&
           semihard.distances.same_bits(other.semihard.distances) && drawn.negatives.same_bits(other.drawn.negatives) &&
           drawn.distances.same_bits(other.drawn.distances);
  }
};

Mined mine(Batch& batch, float margin, int threads = 2) {
  return {mine_hard(batch, threads), mine_semihard(batch, margin, threads),
          draw_negatives(batch, kSlots, batch.first_column + batch.m(), 4, threads)};
}

// All three minings, of rows and of columns, whatever the threads.
void check_all(Batch& batch, float margin = 0.3f) {
  const reference::Weights pairs = batch.pairs();
  const int64_t n = batch.n(), m = batch.m();
  const reference::Weights turned{transposed(pairs.positive, n, m), transposed(pairs.negative, n, m)};
  const Doubles values = batch.distances(batch.metric), across = transposed(values, n, m);
  const auto rows = reference::mine_hard(values, pairs, static_cast<size_t>(n)),
             columns = reference::mine_hard(across, turned, static_cast<size_t>(m));
  const Mined first = mine(batch, margin, 1);
  const Hard &of_rows = first.hard.rows, &of_columns = first.hard.columns;
  check_mined(of_rows.positive, of_rows.positive_distance, rows.positive, values, 0, "rows' positives");
  check_mined(of_rows.negative, of_rows.negative_distance, rows.negative, values, 0, "rows' negatives");
  check_mined(of_columns.positive, of_columns.positive_distance, columns.positive, across, 0, "columns' positives");
  check_mined(of_columns.negative, of_columns.negative_distance, columns.negative, across, 0, "columns' negatives");
  check_semihard_exactly(batch, margin);
  const Doubles euclidean = batch.distances(DUET_METRIC_EUCLIDEAN);
  const auto drawn =
      reference::mine_distance_weighted(euclidean, pairs, static_cast<size_t>(n), batch.x.columns(), 12345, 4, kSlots,
                                        batch.first_row, batch.first_column, batch.first_column + m);
  check_mined(first.drawn.negatives, first.drawn.distances, drawn, euclidean, 4e-6, "drawn negatives");
  for (const int threads : other_thread_counts()) CHECK(mine(batch, margin, threads).same_bits(first));
}

Batch batch_of(int64_t n, int64_t m, int64_t d, int64_t classes, uint64_t seed, double unlabelled = 0.2) {
  Draw draw(seed);
  return {draw.unit_rows(n, d, 1), draw.unit_rows(m, d, 2), draw.labels(n, classes, unlabelled),
          draw.labels(m, classes, unlabelled)};
}

Ints numbers_of(std::initializer_list<int32_t> values) {
  Ints out(static_cast<int64_t>(values.size()), 1);
  int64_t k = 0;
  for (const int32_t value : values) out.at(k++) = value;
  return out;
}

Ints ascending(int64_t count, int32_t first) {
  Ints out(count, 1);
  for (int64_t k = 0; k < count; ++k) out.at(k) = first + static_cast<int32_t>(k);
  return out;
}

}  // namespace

TEST_CASE("mining by groups, and without own pairs, is what the definition says") {
  int64_t ran = 0;
  for (const auto& shape : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {31, 67}, {70, 70}, {129, 259}, {300, 40}})
    for (const bool groups : {false, true})
      for (const bool exclude_own : {false, true}) {
        const int64_t n = shape.first, m = shape.second;
        if ((!groups && !exclude_own) || !affordable(n * m * 1000)) continue;
        CAPTURE(n);
        CAPTURE(m);
        CAPTURE(groups);
        CAPTURE(exclude_own);
        Batch batch = batch_of(n, m, 9, 4, 81);
        Draw draw(82);
        if (groups) batch.group_x = draw.labels(n, 12, 0.4), batch.group_y = draw.labels(m, 12, 0.4);
        batch.exclude_own = exclude_own;
        for (const auto& first : {std::pair<int64_t, int64_t>{0, 0}, {11, 3}, {2, 40}}) {
          batch.first_row = first.first, batch.first_column = first.second;
          check_all(batch);
        }
        ++ran;
      }
  CHECK(ran > 0);
}

TEST_CASE("rows longer than shared memory sorts are mined by groups and without own pairs") {
  Batch batch = batch_of(3, 8200, 2, 40, 83, 0.1);
  if (!affordable(3 * 8200 * 400)) return;
  Draw draw(84);
  batch.group_x = draw.labels(3, 50, 0), batch.group_y = draw.labels(8200, 50, 0.1);
  batch.exclude_own = true;
  check_semihard_exactly(batch, 0.2f);
}

TEST_CASE(
    "group and label that contradict each other: the group makes a positive, and a row without a label no negative") {
  Batch batch{Floats(4, 1), Floats(5, 1), numbers_of({0, 0, -1, 1}), numbers_of({0, 1, 1, -1, 0})};
  for (int64_t i = 0; i < 4; ++i) batch.x.at(i) = 0;
  for (int64_t j = 0; j < 5; ++j) batch.y.at(j) = static_cast<float>(j + 1) / 4;
  // Row 0 and column 1 differ in label and are of one group. Row 2 has no label, and column 3 neither.
  batch.group_x = numbers_of({7, -1, 9, -2}), batch.group_y = numbers_of({-1, 7, 9, 9, -2});
  check_all(batch);
  const Mined mined = mine(batch, 10);
  CHECK(mined.hard.rows.positive.at(0) == 4);
  CHECK(mined.hard.rows.negative.at(0) == 2);
  CHECK(mined.hard.rows.positive.at(1) == 4);
  CHECK(mined.hard.rows.negative.at(1) == 1);
  CHECK(mined.hard.rows.positive.at(2) == 3);
  CHECK(mined.hard.rows.negative.at(2) == -1);
  CHECK(mined.hard.columns.positive.at(3) == 2);
  CHECK(mined.hard.columns.negative.at(3) == -1);
  CHECK(mined.drawn.negatives.at(2) == -1);
  CHECK(mined.semihard.triplets.rows() == 3 + 2 + 2 + 2);
}

TEST_CASE("all rows of one group have positives alone; every row its own group, or of none, is no group at all") {
  Batch batch = batch_of(40, 50, 6, 3, 85);
  const Mined plain = mine(batch, 0.3f);
  Batch one = batch;
  one.group_x = Ints(40, 1).fill(0), one.group_y = Ints(50, 1).fill(0);
  check_all(one);
  const Mined of_one = mine(one, 0.3f);
  CHECK(of_one.semihard.triplets.rows() == 40 * 50);
  for (int64_t i = 0; i < 40; ++i) CHECK(of_one.hard.rows.negative.at(i) == -1);
  for (const int32_t first : {100, -60}) {
    Batch each = batch;
    each.group_x = ascending(40, 0), each.group_y = ascending(50, first);
    if (first < 0) each.group_x.fill(std::numeric_limits<int32_t>::min());
    CHECK(mine(each, 0.3f).same_bits(plain));
  }
  // Parts that do not meet have no own pair to leave out.
  Batch apart = batch;
  apart.first_row = 0, apart.first_column = 40, apart.exclude_own = true;
  Batch with = apart;
  with.exclude_own = false;
  CHECK(mine(apart, 0.3f).same_bits(mine(with, 0.3f)));
}

TEST_CASE("a set mined with itself leaves out each row's own pair") {
  Batch batch = batch_of(45, 45, 5, 45, 86, 0.1);
  batch.y = batch.x, batch.labels_y = batch.labels_x, batch.exclude_own = true;
  check_all(batch);
  const Mined mined = mine(batch, 0.3f);
  for (int64_t i = 0; i < 45; ++i) CHECK(mined.hard.rows.positive.at(i) != i);
  Batch single = batch_of(1, 1, 3, 1, 87, 0);
  single.exclude_own = true, single.group_x = single.group_y = Ints(1, 1).fill(4);
  check_all(single);
  const Mined none = mine(single, 0.3f);
  CHECK(none.hard.rows.positive.at(0) == -1);
  CHECK(none.hard.rows.negative.at(0) == -1);
  CHECK(none.semihard.triplets.rows() == 0);
  CHECK(none.drawn.negatives.at(0) == -1);
}

TEST_CASE("parts of a batch mine by groups, and leave out own pairs, as the whole does") {
  Batch whole = batch_of(50, 60, 7, 4, 88);
  Draw draw(89);
  whole.group_x = draw.labels(50, 15, 0.3), whole.group_y = draw.labels(60, 15, 0.3), whole.exclude_own = true;
  const Mined all = mine(whole, 0.3f);
  int64_t at = 0;
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 17}, {17, 33}}) {
    Batch part{Floats(count, 7), whole.y, Ints(count, 1), whole.labels_y};
    part.group_x = Ints(count, 1), part.group_y = whole.group_y, part.exclude_own = true, part.first_row = first;
    for (int64_t i = 0; i < count; ++i) {
      part.labels_x.at(i) = whole.labels_x.at(first + i), part.group_x.at(i) = whole.group_x.at(first + i);
      for (int64_t k = 0; k < 7; ++k) part.x.at(i, k) = whole.x.at(first + i, k);
    }
    const Mined some = mine(part, 0.3f);
    for (int64_t i = 0; i < count; ++i) {
      CHECK(some.hard.rows.positive.at(i) == all.hard.rows.positive.at(first + i));
      CHECK(some.hard.rows.negative.at(i) == all.hard.rows.negative.at(first + i));
      for (int64_t slot = 0; slot < kSlots; ++slot)
        CHECK(some.drawn.negatives.at(i, slot) == all.drawn.negatives.at(first + i, slot));
    }
    for (int64_t k = 0; k < some.semihard.triplets.rows(); ++k, ++at) {
      CHECK(some.semihard.triplets.at(k, 0) + first == all.semihard.triplets.at(at, 0));
      CHECK(some.semihard.triplets.at(k, 1) == all.semihard.triplets.at(at, 1));
      CHECK(some.semihard.triplets.at(k, 2) == all.semihard.triplets.at(at, 2));
    }
  }
  CHECK(at == all.semihard.triplets.rows());
}

TEST_CASE("by groups too ties go to the lowest index, and NaN and infinity are the last choices") {
  Batch batch{Floats(40, 2).fill(0), Floats(70, 2).fill(0), Ints(40, 1), Ints(70, 1)};
  Draw draw(90);
  batch.group_x = draw.labels(40, 6, 0.3), batch.group_y = draw.labels(70, 6, 0.3), batch.exclude_own = true;
  for (int64_t i = 0; i < 40; ++i)
    batch.labels_x.at(i) = static_cast<int32_t>(i % 4) - 1, batch.x.at(i, 0) = static_cast<float>(draw.integer(0, 2));
  for (int64_t j = 0; j < 70; ++j)
    batch.labels_y.at(j) = static_cast<int32_t>(j % 4) - 1, batch.y.at(j, 0) = static_cast<float>(draw.integer(0, 2));
  check_all(batch, 1.5f);
  batch.y.at(4, 1) = batch.x.at(9, 0) = std::nanf("");
  check_all(batch, 1.5f);
  batch.metric = DUET_METRIC_EUCLIDEAN;
  batch.y.at(11, 1) = std::numeric_limits<float>::infinity();
  check_all(batch, 1.5f);
  // A NaN that no pair but the own one sees.
  Batch own{Floats(2, 1).fill(0), Floats(2, 1).fill(0), numbers_of({0, 1}), numbers_of({0, -1})};
  own.group_x = numbers_of({3, -1}), own.group_y = numbers_of({3, -1}), own.exclude_own = true;
  own.y.at(0) = std::nanf("");
  check_all(own);
}

TEST_CASE("mining refuses groups of one side alone, and of another length") {
  Context context;
  Batch batch = batch_of(6, 8, 3, 2, 91);
  Ints six = Ints(6, 1).fill(0), eight = Ints(8, 1).fill(0);
  size_t bytes = 0;
  const auto refuses = [&](const char* message, auto&& change) {
    duet_mining_inputs inputs = batch.inputs();
    change(inputs);
    FAIL_CALL(duet_mining_workspace(context, &inputs, &bytes), DUET_STATUS_INVALID_ARGUMENT, message);
  };
  refuses("inputs.group_y: expected dtype i32", [&](auto& in) { in.group_x = six.vector(); });
  refuses("inputs.group_x: expected dtype i32", [&](auto& in) { in.group_y = eight.vector(); });
  refuses("inputs.group_y: expected 8 elements, got 6", [&](auto& in) { in.group_x = in.group_y = six.vector(); });
}

TEST_CASE("mining by label sets is what the definition says") {
  struct Shape {
    int64_t n, m, labels, classes;
    double share;
  };
  // 300 rows and columns are past the small tiles.
  for (const Shape& shape : {Shape{1, 1, 1, 1, 0},
                             {9, 14, 3, 2, 0.3},
                             {31, 67, 9, 33, 0.05},
                             {45, 45, 20, 70, 0.02},
                             {140, 300, 6, 5, 0.2}}) {
    if (!affordable(shape.n * shape.m * 2000)) continue;
    for (const bool groups : {false, true}) {
      CAPTURE(shape.n);
      CAPTURE(shape.m);
      CAPTURE(groups);
      // Labels past the table's end are alike to themselves alone.
      Batch batch = batch_of(shape.n, shape.m, 6, shape.labels + 2, 91);
      Draw draw(92);
      batch.label_sets = draw_label_table(draw, shape.labels, shape.classes, shape.share, 1);
      if (groups) {
        batch.group_x = draw.labels(shape.n, 12, 0.4), batch.group_y = draw.labels(shape.m, 12, 0.4);
        batch.exclude_own = true, batch.first_row = 3;
      }
      check_all(batch);
    }
  }
}

TEST_CASE("mining by sets of one class each is mining by that class, bit for bit") {
  Batch batch = batch_of(40, 33, 6, 4, 93), sets = batch;
  sets.label_sets = {{{31}, {32}, {0}, {5}}, 33};
  CHECK(mine(sets, 0.3f).same_bits(mine(batch, 0.3f)));
}
