// Rows as the CPU backend's searches meet them: lengths about a vector and a tile, crowded bins, few and many
// positives, long draws.
#include <algorithm>
#include <cmath>
#include <string>

#include "tests/kernels/mining_problem.h"
#include "tests/support/compare.h"

using namespace duet::test;
using namespace duet::test::mining;

namespace {

enum class Kind { spread, ties, outliers, equal, nan };
const char* const kKindNames[] = {"spread", "ties", "outliers", "equal", "nan"};

// At d = 1 and 2, of small integers where there are to be ties: distances are then the same on every backend.
Batch batch_of(int64_t n, int64_t m, int64_t classes, Kind kind, uint64_t seed) {
  Draw draw(seed);
  Batch batch{Floats(n, 2), Floats(m, 2), draw.labels(n, classes, 0.1), draw.labels(m, classes, 0.1)};
  for (Floats* rows : {&batch.x, &batch.y})
    for (int64_t i = 0; i < rows->rows(); ++i)
      for (int64_t k = 0; k < 2; ++k) {
        float& value = rows->at(i, k);
        value = static_cast<float>(kind == Kind::ties ? draw.integer(0, 3) : draw.integer(0, 255));
        if (kind == Kind::equal) value = 1;
        if (kind == Kind::outliers && i % 61 == 7) value *= 1e6f;
        if (kind == Kind::nan && i % 13 == 5) value = k == 0 ? std::nanf("") : value;
      }
  return batch;
}

}  // namespace

TEST_CASE("semihard mining finds the nearest negative beyond, however a row's distances lie") {
  int64_t ran = 0;
  for (const int64_t m : {1, 7, 8, 9, 15, 16, 17, 33, 255, 1023, 1024, 1030})
    for (const int64_t classes : values_of<int64_t>({1, 2, 10, 500})) {
      constexpr int64_t kRows = 5;
      if (!affordable(kRows * m * 400) || (!on_cpu() && m > 300)) continue;
      for (const Kind kind : {Kind::spread, Kind::ties, Kind::outliers, Kind::equal, Kind::nan}) {
        CAPTURE(m);
        CAPTURE(classes);
        CAPTURE(std::string(kKindNames[static_cast<int>(kind)]));
        Batch batch = batch_of(kRows, m, classes, kind, 61);
        for (const float margin : values_of({0.0f, 3.0f, 5000.0f, std::numeric_limits<float>::infinity()}))
          check_semihard_exactly(batch, margin);
        ++ran;
      }
    }
  CHECK(ran > 0);
}

TEST_CASE("semihard mining of a positive per column leaves every row without a negative") {
  Batch batch = batch_of(4, 40, 1, Kind::spread, 62);
  batch.labels_x.fill(0), batch.labels_y.fill(0);
  const Semihard mined = mine_semihard(batch, 1e9f, 2);
  REQUIRE(mined.triplets.rows() == 4 * 40);
  for (int64_t k = 0; k < mined.triplets.rows(); ++k) CHECK(mined.triplets.at(k, 2) == -1);
  batch.labels_x.fill(1);  // and the other way round
  CHECK(mine_semihard(batch, 1e9f, 2).triplets.rows() == 0);
}

TEST_CASE("a draw is the same by its bounds as by all its values") {
  int64_t ran = 0;
  for (const int64_t d : values_of<int64_t>({1, 2, 3, 16, 700}))
    for (const int64_t m : {1, 15, 16, 17, 64, 1025}) {
      constexpr int64_t kRows = 6, kSlots = 9;
      if (!affordable(kRows * m * (kSlots * 100 + d)) || (!on_cpu() && m > 300)) continue;
      CAPTURE(d);
      CAPTURE(m);
      Draw draw(63);
      Batch batch{draw.unit_rows(kRows, d), draw.unit_rows(m, d), draw.labels(kRows, 3, 0.1), draw.labels(m, 3, 0.1)};
      batch.first_row = 2, batch.first_column = 3;
      for (int64_t k = 0; k < d && m > 40; ++k) batch.y.at(30, k) = batch.x.at(1, k);  // nearer than 0.5
      const Doubles distances = batch.distances(DUET_METRIC_EUCLIDEAN);
      const auto expected = reference::mine_distance_weighted(distances, list(batch.labels_x), list(batch.labels_y), d,
                                                              99, 4, kSlots, 2, 3, m + 50);
      const Drawn first = draw_negatives(batch, kSlots, m + 50, 4, 1, 99);
      for (int64_t i = 0; i < kRows; ++i)
        for (int64_t slot = 0; slot < kSlots; ++slot)
          CHECK(first.negatives.at(i, slot) == expected[static_cast<size_t>(i * kSlots + slot)]);
      for (const int threads : other_thread_counts())
        CHECK(draw_negatives(batch, kSlots, m + 50, 4, threads, 99).negatives.same_bits(first.negatives));
      ++ran;
    }
  CHECK(ran > 0);
}
