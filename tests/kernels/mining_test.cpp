// Mining against the reference and the golden cases; mining_edges_test.cpp has what depends on how a row is searched.
#include "tests/kernels/mining_problem.h"
#include "tests/support/compare.h"
#include "tests/support/golden.h"

using namespace duet::test;
using namespace duet::test::mining;

namespace {

// The same list; another negative alone where float32 cannot tell: within 4e-6 (METHOD.md 3) of a bound or of the one
// expected.
void check_semihard(const Semihard& actual, const std::vector<reference::Triplet>& expected, const Doubles& distances,
                    int64_t m, double margin) {
  constexpr double kSlack = 4e-6;
  REQUIRE(actual.triplets.rows() == static_cast<int64_t>(expected.size()));
  int64_t wrong = 0, off = 0;
  for (int64_t k = 0; k < actual.triplets.rows(); ++k) {
    const auto& want = expected[static_cast<size_t>(k)];
    const int found = actual.triplets.at(k, 2);
    const auto distance = [&](int j) { return distances[static_cast<size_t>(want.anchor * m + j)]; };
    wrong += actual.triplets.at(k, 0) != want.anchor || actual.triplets.at(k, 1) != want.positive;
    if (found != want.negative) {
      const double dp = distance(want.positive), a = found < 0 ? dp + margin : distance(found);
      const double b = want.negative < 0 ? dp + margin : distance(want.negative);
      off += !(std::abs(a - b) <= kSlack || std::abs(a - dp) <= kSlack || std::abs(b - dp) <= kSlack);
    }
    off += !(std::abs(actual.distances.at(k, 0) - distance(want.positive)) <= kSlack);
    off += found < 0 ? !std::isnan(actual.distances.at(k, 1))
                     : !(std::abs(actual.distances.at(k, 1) - distance(found)) <= kSlack);
  }
  CHECK(wrong == 0);
  CHECK(off == 0);
}

struct Shape {
  int64_t n, m, d, classes;
  double unlabelled;
};
const Shape kShapes[] = {{1, 1, 1, 1, 0},
                         {1, 19, 3, 2, 0},
                         {37, 1, 5, 3, 0.2},
                         {31, 67, 8, 3, 0.2},
                         {128, 128, 64, 10, 0},
                         {129, 259, 17, 4, 0.5},
                         {60, 41, 9, 1, 0},
                         {20, 23, 4, 3, 1.0},
                         {40, 40, 6, 40, 0.1},
                         {0, 5, 3, 2, 0},
                         {5, 0, 3, 2, 0},
                         {2060, 1040, 2, 3, 0.1},
                         // past a block of rows, and past the columns that shared memory sorts
                         {2060, 16, 2, 3, 0.1},
                         {5, 8200, 2, 40, 0.1}};

// The emulator sorts a column in about the time of 400 multiply-adds.
bool affordable_rows(const Shape& s) { return affordable(s.n * s.m * 400); }

Batch batch_of(const Shape& s, uint64_t seed, int64_t padding = 0) {
  Draw draw(seed);
  return {draw.unit_rows(s.n, s.d, padding), draw.unit_rows(s.m, s.d, padding),
          draw.labels(s.n, s.classes, s.unlabelled), draw.labels(s.m, s.classes, s.unlabelled)};
}

}  // namespace

TEST_CASE("hard mining finds the farthest positive and the nearest negative of rows and columns") {
  for (const Shape& s : kShapes) {
    if (!affordable_rows(s)) continue;
    CAPTURE(s.n);
    CAPTURE(s.m);
    Batch batch = batch_of(s, 21, 3);
    for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
      if (!on_cpu() && s.n * s.m > 128 * 128 && metric != DUET_METRIC_SQEUCLIDEAN) continue;
      batch.metric = metric;
      const Doubles values = batch.distances(metric), across = transposed(values, s.n, s.m);
      const auto rows = reference::mine_hard(values, list(batch.labels_x), list(batch.labels_y));
      const auto columns = reference::mine_hard(across, list(batch.labels_y), list(batch.labels_x));
      const BothSides first = mine_hard(batch, 1);
      // The same tiles as duet_distance_forward's: the very bits.
      check_mined(first.rows.positive, first.rows.positive_distance, rows.positive, values, 0, "rows' positives");
      check_mined(first.rows.negative, first.rows.negative_distance, rows.negative, values, 0, "rows' negatives");
      check_mined(first.columns.positive, first.columns.positive_distance, columns.positive, across, 0,
                  "columns' positives");
      check_mined(first.columns.negative, first.columns.negative_distance, columns.negative, across, 0,
                  "columns' negatives");
      if (s.n > 1000 && metric != DUET_METRIC_SQEUCLIDEAN) continue;
      for (const int threads : other_thread_counts()) {
        const BothSides again = mine_hard(batch, threads);
        CHECK(again.rows.same_bits(first.rows));
        CHECK(again.columns.same_bits(first.columns));
      }
    }
  }
}

TEST_CASE("hard mining serves one side alone and single outputs") {
  Batch batch = batch_of({33, 29, 7, 3, 0.1}, 22);
  const BothSides both = mine_hard(batch, 2);
  Context context;
  Scratch scratch = batch.scratch(context);
  const duet_mining_inputs inputs = batch.inputs();
  Hard columns(29);
  const duet_mining_hard_side of_columns = columns.outputs();
  SUCCEED_CALL(
      duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.columns = &of_columns}), scratch.view()));
  CHECK(columns.same_bits(both.columns));
  Ints negatives(33, 1);
  duet_mining_hard_side one = DUET_MINING_HARD_SIDE_INIT;
  one.negative_index = negatives.vector();
  SUCCEED_CALL(duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.rows = &one}), scratch.view()));
  CHECK(negatives.same_bits(both.rows.negative));
}

TEST_CASE("semihard mining lists every positive pair in row-major order") {
  for (const Shape& s : kShapes) {
    if (!affordable_rows(s)) continue;
    CAPTURE(s.n);
    CAPTURE(s.m);
    Batch batch = batch_of(s.m > 1000 && s.n > 1000 ? Shape{2060, 130, 2, 30, 0.1} : s, 23,
                           1);  // the reference takes every positive with every negative
    const float margin = 0.2f;
    const Doubles values = batch.distances(DUET_METRIC_SQEUCLIDEAN);
    const auto expected = reference::mine_semihard(values, list(batch.labels_x), list(batch.labels_y), margin);
    const Semihard first = mine_semihard(batch, margin, 1);
    check_semihard(first, expected, values, batch.m(), margin);
    for (const int threads : other_thread_counts()) {
      const Semihard again = mine_semihard(batch, margin, threads);
      CHECK(again.triplets.same_bits(first.triplets));
      CHECK(again.distances.same_bits(first.distances));
    }
  }
}

TEST_CASE("distance-weighted mining draws what Gumbel-max draws in double") {
  for (const Shape& s : kShapes) {
    if (s.n > 1000 || !affordable_rows(s)) continue;
    CAPTURE(s.n);
    CAPTURE(s.m);
    Batch batch = batch_of(s, 24, 2);
    const Doubles values = batch.distances(DUET_METRIC_EUCLIDEAN);
    const auto expected = reference::mine_distance_weighted(values, list(batch.labels_x), list(batch.labels_y), s.d,
                                                            12345, 7, 3, 0, 0, batch.m());
    const Drawn first = draw_negatives(batch, 3, 0, 7, 1);
    check_mined(first.negatives, first.distances, expected, values, 4e-6, "negatives");
    for (const int threads : other_thread_counts()) {
      const Drawn again = draw_negatives(batch, 3, 0, 7, threads);
      CHECK(again.negatives.same_bits(first.negatives));
      CHECK(again.distances.same_bits(first.distances));
    }
  }
}

TEST_CASE("parts of a batch mine what the whole mines") {
  Batch whole = batch_of({50, 60, 12, 4, 0.1}, 25);
  const BothSides hard = mine_hard(whole, 2);
  const Semihard semihard = mine_semihard(whole, 0.3f, 2);
  const Drawn drawn = draw_negatives(whole, 2, 0, 3, 2);
  int64_t at = 0;
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 17}, {17, 33}}) {
    Batch part{Floats(count, 12), whole.y, Ints(count, 1), whole.labels_y};
    part.first_row = first;
    for (int64_t i = 0; i < count; ++i) {
      part.labels_x.at(i) = whole.labels_x.at(first + i);
      for (int64_t k = 0; k < 12; ++k) part.x.at(i, k) = whole.x.at(first + i, k);
    }
    const BothSides some = mine_hard(part, 2);
    const Drawn some_drawn = draw_negatives(part, 2, 60, 3, 2);
    for (int64_t i = 0; i < count; ++i) {
      CHECK(some.rows.positive.at(i) == hard.rows.positive.at(first + i));
      CHECK(some.rows.negative.at(i) == hard.rows.negative.at(first + i));
      for (int64_t slot = 0; slot < 2; ++slot)
        CHECK(some_drawn.negatives.at(i, slot) == drawn.negatives.at(first + i, slot));
    }
    const Semihard some_semihard = mine_semihard(part, 0.3f, 2);
    for (int64_t k = 0; k < some_semihard.triplets.rows(); ++k, ++at) {
      CHECK(some_semihard.triplets.at(k, 0) + first == semihard.triplets.at(at, 0));
      CHECK(some_semihard.triplets.at(k, 2) == semihard.triplets.at(at, 2));
    }
  }
  CHECK(at == semihard.triplets.rows());
  // A part of the columns draws by global indices: its own reference, with them.
  Batch columns{whole.x, Floats(25, 12), whole.labels_x, Ints(25, 1)};
  columns.first_column = 30, columns.first_row = 4;
  for (int64_t j = 0; j < 25; ++j) {
    columns.labels_y.at(j) = whole.labels_y.at(30 + j);
    for (int64_t k = 0; k < 12; ++k) columns.y.at(j, k) = whole.y.at(30 + j, k);
  }
  const Doubles values = columns.distances(DUET_METRIC_EUCLIDEAN);
  const auto expected = reference::mine_distance_weighted(values, list(columns.labels_x), list(columns.labels_y), 12,
                                                          12345, 3, 2, 4, 30, 60);
  const Drawn actual = draw_negatives(columns, 2, 60, 3, 2);
  check_mined(actual.negatives, actual.distances, expected, values, 4e-6, "negatives of a part");
}

TEST_CASE("mining agrees with the golden cases") {
  for (const GoldenCase& golden : golden_cases()) {
    CAPTURE(golden.name());
    Batch batch{golden.load("A").array(), golden.load("V").array(), golden.load("ya").array<int32_t>(),
                golden.load("yv").array<int32_t>()};
    const BothSides hard = mine_hard(batch, 2);
    check_close(hard.rows.positive.values(), golden.load("hard_positive").values, 0, "hard positives");
    check_close(hard.rows.negative.values(), golden.load("hard_negative").values, 0, "hard negatives");
    std::vector<reference::Triplet> expected;
    const GoldenArray list = golden.load("semihard");
    for (int64_t k = 0; k < list.rows; ++k) {
      const double* row = &list.values[static_cast<size_t>(3 * k)];
      expected.push_back({static_cast<int>(row[0]), static_cast<int>(row[1]), static_cast<int>(row[2])});
    }
    const double margin = golden.fact("margin");
    check_semihard(mine_semihard(batch, static_cast<float>(margin), 2), expected, golden.load("D_sqeuclidean").values,
                   batch.m(), margin);
    if (!golden.has("distance_weighted")) continue;
    const auto fact = [&](const std::string& name) {
      return static_cast<int64_t>(golden.fact("distance_weighted/" + name));
    };
    const Drawn drawn = draw_negatives(batch, fact("slots"), 0, fact("step"), 2, static_cast<uint64_t>(fact("seed")));
    check_close(drawn.negatives.values(), golden.load("distance_weighted").values, 0, "distance weighted");
  }
}

TEST_CASE("ties go to the lowest index and NaN is the last choice") {
  const int64_t n = 70, m = 90;
  Batch batch{Floats(n, 2).fill(0), Floats(m, 2).fill(0), Ints(n, 1), Ints(m, 1)};
  Draw draw(26);
  for (int64_t i = 0; i < n; ++i)
    batch.labels_x.at(i) = static_cast<int32_t>(i % 3), batch.x.at(i, 0) = static_cast<float>(draw.integer(0, 2));
  for (int64_t j = 0; j < m; ++j)
    batch.labels_y.at(j) = static_cast<int32_t>(j % 3), batch.y.at(j, 0) = static_cast<float>(draw.integer(0, 2));
  batch.y.at(4, 1) = std::nanf(""), batch.x.at(9, 0) = std::nanf("");
  batch.labels_y.at(7) = 3, batch.labels_x.at(11) = 3,
  batch.y.at(7, 0) = std::nanf("");  // row 11 has one positive, and its distance is NaN
  const Doubles values = batch.distances(DUET_METRIC_SQEUCLIDEAN);
  const auto rows = reference::mine_hard(values, list(batch.labels_x), list(batch.labels_y));
  const auto columns = reference::mine_hard(transposed(values, n, m), list(batch.labels_y), list(batch.labels_x));
  const BothSides hard = mine_hard(batch, 2);
  check_mined(hard.rows.positive, hard.rows.positive_distance, rows.positive, values, 0, "positives");
  check_mined(hard.rows.negative, hard.rows.negative_distance, rows.negative, values, 0, "negatives");
  check_mined(hard.columns.positive, hard.columns.positive_distance, columns.positive, transposed(values, n, m), 0,
              "columns' positives");
  check_mined(hard.columns.negative, hard.columns.negative_distance, columns.negative, transposed(values, n, m), 0,
              "columns' negatives");
  CHECK(hard.rows.positive.at(11) == -1);
  CHECK(hard.rows.negative.at(9) == -1);
  const Semihard semihard = mine_semihard(batch, 1.5f, 2);
  const auto expected = reference::mine_semihard(values, list(batch.labels_x), list(batch.labels_y), 1.5);
  REQUIRE(semihard.triplets.rows() == static_cast<int64_t>(expected.size()));
  for (int64_t k = 0; k < semihard.triplets.rows(); ++k)
    CHECK(semihard.triplets.at(k, 2) == expected[static_cast<size_t>(k)].negative);
}

TEST_CASE("at d = 1 both backends mine by the exact distances, also where squares leave float32's range") {
  for (const int exponent : values_of({0, -66, -120, 62, 100}))
    for (const duet_metric metric : {DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE}) {
      CAPTURE(exponent);
      CAPTURE(static_cast<int>(metric));
      if (metric == DUET_METRIC_COSINE && exponent < 0) continue;  // shorter than eps
      Draw draw(28);
      Batch batch{Floats(30, 1), Floats(35, 1), draw.labels(30, 3), draw.labels(35, 3), metric};
      for (Floats* rows : {&batch.x, &batch.y})  // small integers: ties, and every distance is a float32
        for (int64_t i = 0; i < rows->rows(); ++i)
          rows->at(i) = static_cast<float>(std::ldexp(2 * draw.integer(-6, 6) + 1, exponent));
      const Doubles values = reference::distances(batch.x.values(), batch.y.values(), 30, 35, 1, metric);
      const float margin = metric == DUET_METRIC_COSINE ? 2.5f : static_cast<float>(std::ldexp(5, exponent));
      const auto rows = reference::mine_hard(values, list(batch.labels_x), list(batch.labels_y));
      const BothSides hard = mine_hard(batch, 2);
      check_mined(hard.rows.positive, hard.rows.positive_distance, rows.positive, values, 0, "positives");
      check_mined(hard.rows.negative, hard.rows.negative_distance, rows.negative, values, 0, "negatives");
      const auto expected = reference::mine_semihard(values, list(batch.labels_x), list(batch.labels_y), margin);
      const Semihard semihard = mine_semihard(batch, margin, 2);
      REQUIRE(semihard.triplets.rows() == static_cast<int64_t>(expected.size()));
      for (int64_t k = 0; k < semihard.triplets.rows(); ++k)
        CHECK(semihard.triplets.at(k, 2) == expected[static_cast<size_t>(k)].negative);
    }
}

TEST_CASE("mining refuses misuse") {
  Context context;
  Batch batch = batch_of({6, 8, 3, 2, 0}, 27);
  Scratch scratch = batch.scratch(context);
  duet_mining_inputs inputs = batch.inputs();
  Hard rows(6), wrong(5);
  duet_mining_hard_side outputs = rows.outputs(), bad = wrong.outputs();
  FAIL_CALL(duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.rows = &bad}), scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "rows.positive_index: expected 6 elements, got 5");
  FAIL_CALL(duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.rows = &outputs}), duet_workspace{}),
            DUET_STATUS_WORKSPACE_TOO_SMALL, "workspace");
  Ints triplets(1, 3);
  const auto semihard = [&] {
    return duet_mining_semihard(context, &inputs, sized<duet_mining_semihard_outputs>({.triplets = triplets.matrix()}),
                                scratch.view());
  };
  inputs.margin = 0.2f;
  FAIL_CALL(semihard(), DUET_STATUS_INVALID_ARGUMENT, "outputs.triplets: expected");
  inputs.margin = std::nanf("");
  FAIL_CALL(semihard(), DUET_STATUS_INVALID_ARGUMENT, "inputs.margin: expected at least 0, got nan");
  const auto drawn = [&] {
    return duet_mining_distance_weighted(context, &inputs,
                                         sized<duet_mining_distance_weighted_outputs>({.negatives = triplets.matrix()}),
                                         scratch.view());
  };
  FAIL_CALL(drawn(), DUET_STATUS_INVALID_ARGUMENT, "inputs.draw: null");
  duet_mining_draw draw = DUET_MINING_DRAW_INIT;
  inputs.draw = &draw;
  FAIL_CALL(drawn(), DUET_STATUS_INVALID_ARGUMENT, "inputs.draw.slots: expected at least 1, got 0");
  draw.slots = 1, draw.total_columns = 7;
  FAIL_CALL(drawn(), DUET_STATUS_INVALID_ARGUMENT, "inputs.draw.total_columns: expected 0 or at least 8, got 7");
  inputs.metric = DUET_METRIC_INNER;
  FAIL_CALL(duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.rows = &outputs}), scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.metric");
  inputs = batch.inputs();
  inputs.labels_y = batch.labels_x.vector();
  FAIL_CALL(duet_mining_hard(context, &inputs, sized<duet_mining_hard_outputs>({.rows = &outputs}), scratch.view()),
            DUET_STATUS_INVALID_ARGUMENT, "inputs.labels_y: expected 8 elements, got 6");
}
