// The triplet loss about the largest shapes that CUDA takes in two launches, and where differences of rows decide.
#include "tests/kernels/triplet_problem.h"

using namespace duet::test;
using namespace duet::test::triplet;

namespace {

void check_one_pass(Batch& batch) {
  CAPTURE(batch.n());
  CAPTURE(batch.m());
  CAPTURE(batch.d());
  CAPTURE(batch.soft);
  CAPTURE(batch.metric);
  CAPTURE(kNames[batch.mining]);
  const auto expected = expected_of(batch);
  const OnePass actual = one_pass(batch);
  check_rows({actual.loss, actual.active, Floats(1, 1), Floats(1, 1)}, expected);
  check_gradients(actual.sums, batch, expected, 1, 1, kNames[batch.mining]);
}

}  // namespace

TEST_CASE("triplets up to the rows, columns and classes of the small form, and one past them") {
  // kSmallRows, and the columns of triplet_small_cuda.cu. Many classes: few pairs of distances that float32 cannot
  // tell.
  for (const Shape& s : {Shape{256, 9, 5, 40, true, 0.1},
                         {257, 9, 5, 40, true, 0.1},
                         {9, 256, 5, 40, true, 0.1},
                         {9, 257, 5, 40, true, 0.1},
                         {7, 9, 512, 2, true, 0},
                         {7, 9, 513, 2, true, 0},
                         {7, 9, 4, 512, true, 0},
                         {7, 9, 4, 513, true, 0}}) {
    if (!affordable_rows(s.n, s.m)) continue;
    for (const duet_triplet_mining mining :
         values_of({DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_SEMIHARD, DUET_TRIPLET_MINING_HARD})) {
      Batch batch = batch_of(s, 51, 1);
      batch.mining = mining, batch.soft = mining == DUET_TRIPLET_MINING_ALL;
      check_one_pass(batch);
    }
  }
}

TEST_CASE("triplets of close, equal and zero rows keep their gradients' digits in every metric and mining") {
  constexpr int64_t kClose = 6, kEqual = 7, kZero = 8;
  for (const duet_metric metric : {DUET_METRIC_SQEUCLIDEAN, DUET_METRIC_EUCLIDEAN, DUET_METRIC_COSINE})
    for (const duet_triplet_mining mining : kMinings)
      for (const bool soft : {false, true}) {
        if (soft && mining != DUET_TRIPLET_MINING_ALL) continue;
        Batch batch = batch_of({12, 14, 16, 3, true, 0}, 52);
        Draw draw(53);
        for (int64_t k = 0; k < batch.d(); ++k) {
          for (int64_t j = 0; j < kClose; ++j)
            batch.y.at(j, k) = batch.x.at(j, k) + static_cast<float>(1e-3 * draw.normal());
          batch.y.at(kEqual, k) = batch.x.at(kEqual, k);
          if (metric == DUET_METRIC_COSINE)
            batch.x.at(kZero, k) = 0;  // others would see unit rows from it, all at a distance that float32 cannot tell
        }
        batch.metric = metric, batch.mining = mining, batch.soft = soft;
        check_one_pass(batch);
      }
}

TEST_CASE("sums of both sides are added in one call, whatever their shapes, or one alone") {
  Draw draw(54);
  Context context;
  Floats sum_x = draw.normals(3, 4, 1, 2), sum_y = draw.normals(5, 7, 1, 1);
  const Floats before_x = draw.normals(3, 4, 1, 1), before_y = draw.normals(5, 7);
  Floats active = Floats(1, 1).fill(4), upstream = Floats(1, 1).fill(2);
  for (const bool with_x : {false, true})
    for (const bool with_y : {false, true}) {
      Floats x = before_x, y = before_y;
      SUCCEED_CALL(duet_triplet_add_gradient(
          context, sized<duet_triplet_sums>({.sum_x = sum_x.matrix(), .sum_y = sum_y.matrix()}),
          sized<duet_triplet_gradients>({.active = active.vector(),
                                         .grad_loss = upstream.vector(),
                                         .grad_x = with_x ? x.matrix() : duet_matrix{},
                                         .grad_y = with_y ? y.matrix() : duet_matrix{}})));
      const auto check = [](const Floats& after, const Floats& before, const Floats& sum, bool added) {
        for (int64_t i = 0; i < sum.rows(); ++i)
          for (int64_t k = 0; k < sum.columns(); ++k)
            CHECK(after.at(i, k) == before.at(i, k) + (added ? 0.5f * sum.at(i, k) : 0.0f));
      };
      check(x, before_x, sum_x, with_x);
      check(y, before_y, sum_y, with_y);
    }
}
