#include "runtime/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/core/error.h"

using namespace duet;

TEST_CASE("constant") {
  const Schedule schedule{0.25, Decay::constant, 0, 0};
  for (const int64_t step : {0, 1, 99, 100, 1000}) CHECK(learning_rate(schedule, step, 100) == 0.25);
}

TEST_CASE("cosine falls from the rate to its final share") {
  const Schedule schedule{2, Decay::cosine, 0, 0};
  CHECK(learning_rate(schedule, 0, 100) == 2);
  CHECK(learning_rate(schedule, 50, 100) == doctest::Approx(1));
  CHECK(learning_rate(schedule, 25, 100) == doctest::Approx(1 + std::sqrt(0.5)));
  CHECK(learning_rate(schedule, 100, 100) == doctest::Approx(0));
  CHECK(learning_rate(schedule, 200, 100) == doctest::Approx(0));
  const Schedule kept{2, Decay::cosine, 0, 0.1};
  CHECK(learning_rate(kept, 0, 100) == 2);
  CHECK(learning_rate(kept, 100, 100) == doctest::Approx(0.2));
  CHECK(learning_rate(kept, 500, 100) == doctest::Approx(0.2));
}

TEST_CASE("the warm-up is linear and either decay follows it") {
  for (const Decay decay : {Decay::constant, Decay::cosine}) {
    const Schedule schedule{1, decay, 10, 0};
    for (int64_t step = 0; step < 10; ++step)
      CHECK(learning_rate(schedule, step, 110) == doctest::Approx((step + 1) / 10.0));
    CHECK(learning_rate(schedule, 10, 110) == 1);
    CHECK(learning_rate(schedule, 60, 110) == doctest::Approx(decay == Decay::cosine ? 0.5 : 1));
  }
  CHECK(learning_rate({1, Decay::cosine, 10, 0}, 10, 10) == 1);  // nothing is left to decay over
}

TEST_CASE("misuse of schedules is named") {
  CHECK_THROWS_AS(learning_rate({std::nan(""), Decay::constant, 0, 0}, 0, 1), Error);
  CHECK_THROWS_AS(learning_rate({-1, Decay::constant, 0, 0}, 0, 1), Error);
  CHECK_THROWS_AS(learning_rate({1, Decay::constant, -1, 0}, 0, 1), Error);
  CHECK_THROWS_AS(learning_rate({1, Decay::cosine, 0, 1.5}, 0, 1), Error);
  CHECK_THROWS_AS(learning_rate({1, Decay::cosine, 0, 0}, -1, 1), Error);
}
