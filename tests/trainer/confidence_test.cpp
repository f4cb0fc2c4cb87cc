// Intervals of MAP and R@1 beside a bootstrap that is written out, on distributions whose answer is known, and where
// there is little or nothing to draw from.
#include "trainer/confidence.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "kernels/core/philox.h"

using namespace duet;

namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

DirectionScores scores_of(const std::vector<float>& average_precision, const std::vector<float>& recall_at_1) {
  DirectionScores scores;
  scores.average_precision = average_precision;
  scores.recall_at_1 = recall_at_1;
  return scores;
}

// Both measures are the same.
DirectionScores scores_of(const std::vector<float>& values) { return scores_of(values, values); }

// The value below which this share of the sample lies, by the definition of numpy.quantile.
double quantile(std::vector<double> sample, double share) {
  std::sort(sample.begin(), sample.end());
  const double place = share * (static_cast<double>(sample.size()) - 1);
  for (size_t k = 0; k + 1 < sample.size(); ++k)
    if (place < static_cast<double>(k + 1))
      return sample[k] * (static_cast<double>(k + 1) - place) + sample[k + 1] * (place - static_cast<double>(k));
  return sample.back();
}

// Rows of the queries of each item.
using Items = std::vector<std::vector<size_t>>;

// Every draw is written out as a list of queries.
Interval reference(const std::vector<const std::vector<float>*>& directions, const Items& items, int64_t draws,
                   uint64_t seed) {
  std::vector<double> sample;
  for (int64_t draw = 0; draw < draws; ++draw) {
    std::vector<size_t> queries;
    for (size_t e = 0; e < items.size(); ++e) {
      const double share = random_word(seed, kStreamBootstrap, static_cast<uint32_t>(draw), e) / 4294967296.0;
      const auto& item = items[static_cast<size_t>(share * static_cast<double>(items.size()))];
      queries.insert(queries.end(), item.begin(), item.end());
    }
    double mean = 0;
    for (const std::vector<float>* values : directions) {
      double sum = 0, count = 0;
      for (const size_t i : queries)
        if (!std::isnan((*values)[i])) sum += static_cast<double>((*values)[i]), count += 1;
      mean += sum / count / static_cast<double>(directions.size());
    }
    if (!std::isnan(mean)) sample.push_back(mean);
  }
  return {quantile(sample, 0.025), quantile(sample, 0.975)};
}

void check_equal(const Interval& a, const Interval& b) {
  // Sums of some dozen numbers of at most 1 in float64, in another order.
  CHECK(a.low == doctest::Approx(b.low).epsilon(1e-13));
  CHECK(a.high == doctest::Approx(b.high).epsilon(1e-13));
}

}  // namespace

TEST_CASE("intervals are those of draws that are written out") {
  std::mt19937 engine(3);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> there(23), back(23), first(23), back_first(23);
  for (size_t i = 0; i < there.size(); ++i) {
    there[i] = uniform(engine), back[i] = uniform(engine);
    first[i] = static_cast<float>(i % 3 == 0), back_first[i] = static_cast<float>(i % 5 == 0);
  }
  // Row 4 counts in one direction, row 9 in none; of group 6 one row of two.
  there[4] = first[4] = there[9] = first[9] = back[9] = back_first[9] = kNone;
  there[11] = first[11] = back[11] = back_first[11] = kNone;
  std::vector<int32_t> groups(23, -1);
  groups[2] = groups[3] = groups[20] = 0;
  groups[10] = groups[11] = 6;
  Items rows, items;
  for (size_t i = 0; i < there.size(); ++i) {
    if (i != 9 && i != 11) rows.push_back({i});
    if (i == 2)
      items.push_back({2, 3, 20});
    else if (i != 3 && i != 20 && i != 9 && i != 11)
      items.push_back({i});
  }
  const DirectionScores a = scores_of(there, first), v = scores_of(back, back_first);
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1} << 40})
    for (const bool grouped : {false, true}) {
      CAPTURE(grouped);
      const Items& drawn = grouped ? items : rows;
      const Confidence both = bootstrap({&a, &v}, grouped ? groups : std::vector<int32_t>{}, {200, seed});
      REQUIRE(both.directions.size() == 2);
      check_equal(both.directions[0].map, reference({&there}, drawn, 200, seed));
      check_equal(both.directions[1].map, reference({&back}, drawn, 200, seed));
      check_equal(both.mean.map, reference({&there, &back}, drawn, 200, seed));
      check_equal(both.directions[0].recall_at_1, reference({&first}, drawn, 200, seed));
      check_equal(both.mean.recall_at_1, reference({&first, &back_first}, drawn, 200, seed));
      if (!grouped) {
        Items of_one;
        for (const auto& row : rows)
          if (row[0] != 4) of_one.push_back(row);
        check_equal(bootstrap({&a}, {}, {200, seed}).directions[0].map, reference({&there}, of_one, 200, seed));
      }
    }
}

TEST_CASE("19 of 20 intervals hold the mean that the queries were drawn with") {
  // U^3 of a uniform U: skewed, of mean 1/4, as average precision often is.
  constexpr int kSets = 400, kQueries = 100;
  std::mt19937 engine(11);
  std::uniform_real_distribution<float> uniform(0, 1);
  int held = 0;
  double width = 0;
  for (int set = 0; set < kSets; ++set) {
    std::vector<float> values(kQueries);
    for (float& value : values) {
      const float u = uniform(engine);
      value = u * u * u;
    }
    const DirectionScores scores = scores_of(values);
    const Interval interval = bootstrap({&scores}, {}, {500, static_cast<uint64_t>(set)}).directions[0].map;
    held += interval.low <= 0.25 && 0.25 <= interval.high;
    width += (interval.high - interval.low) / kSets;
  }
  // The share has a deviation of sqrt(0.95 0.05 / 400) = 0.011; the interval of skewed values of 100 queries falls
  // short by about 0.01.
  CHECK(held >= 0.91 * kSets);
  CHECK(held <= 0.98 * kSets);
  // The variance of U^3 is 1/7 - 1/16.
  CHECK(width == doctest::Approx(2 * 1.96 * std::sqrt((1.0 / 7 - 1.0 / 16) / kQueries)).epsilon(0.05));
}

TEST_CASE("queries of one item come together") {
  std::vector<float> once, often;
  std::vector<int32_t> groups;
  for (int32_t i = 0; i < 50; ++i)
    for (int k = 0; k < 4; ++k) {
      const auto value = static_cast<float>(i * i % 17) / 17;
      if (k == 0) once.push_back(value);
      often.push_back(value);
      groups.push_back(i);
    }
  const DirectionScores items = scores_of(once), rows = scores_of(often);
  const Interval of_items = bootstrap({&items}, {}).directions[0].map;
  check_equal(bootstrap({&rows}, groups).directions[0].map, of_items);
  // As 200 queries of their own, they seem to tell twice as much.
  const Interval of_rows = bootstrap({&rows}, {}).directions[0].map;
  CHECK(of_items.high - of_items.low ==
        doctest::Approx(2 * (of_rows.high - of_rows.low)).epsilon(0.1));  // of 1,000 draws: some 4 % each
}

TEST_CASE("little to draw from, and nothing") {
  const auto interval_of = [](const std::vector<float>& values, int64_t draws = 1000) {
    const DirectionScores scores = scores_of(values);
    return bootstrap({&scores}, {}, {draws, 5}).directions[0].map;
  };
  const Interval one = interval_of({kNone, 0.375f, kNone});
  CHECK(std::isnan(one.low));  // which says nothing of other queries
  CHECK(std::isnan(one.high));
  // Both draws alike come up with a probability of 1/4, more than the 1/40 outside of the interval.
  const Interval two = interval_of({0, 1});
  CHECK(two.low == 0);
  CHECK(two.high == 1);
  const Interval equal = interval_of(std::vector<float>(7, 0.5f));
  CHECK(equal.low == 0.5);
  CHECK(equal.high == 0.5);
  const Interval single = interval_of({0, 0.25f, 0.5f, 1}, 1);
  CHECK(single.low == single.high);
  for (const auto& none : {std::vector<float>{}, std::vector<float>{kNone, kNone}}) {
    CHECK(std::isnan(interval_of(none).low));
    CHECK(std::isnan(interval_of(none).high));
    const DirectionScores scores = scores_of(none);
    const nlohmann::ordered_json json = to_json(bootstrap({&scores, &scores}, {}));
    CHECK(json["draws"] == 1000);
    CHECK(json["level"] == 0.95);
    CHECK(json["map"]["mean"].is_null());
    CHECK(json["recall"]["1"]["a_to_v"].is_null());
    CHECK(to_json(bootstrap({&scores}, {}))["map"].is_null());
  }
  // A direction without any query has no interval, and neither has the mean; the other one has.
  const DirectionScores some = scores_of({0, 1, 0.5f}), nothing = scores_of({kNone, kNone, kNone});
  const Confidence half = bootstrap({&some, &nothing}, {});
  CHECK(half.directions[0].map.low < half.directions[0].map.high);
  CHECK(std::isnan(half.directions[1].map.low));
  CHECK(std::isnan(half.mean.map.low));
}
