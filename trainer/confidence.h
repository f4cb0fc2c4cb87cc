// How far MAP and R@1 of an evaluation would move with other queries: intervals by the percentile bootstrap over
// queries (METHOD.md 7; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "trainer/evaluation.h"

namespace duet {

inline constexpr double kConfidenceLevel = 0.95;
inline constexpr uint32_t kStreamBootstrap = 10;  // step = draw, element = place in it

struct BootstrapOptions {
  int64_t draws = 1000;  // 1 to 2^32 - 1
  uint64_t seed = 0;
};

// NaN where there is nothing to measure, or a single item, which says nothing of others.
struct Interval {
  double low = std::nan(""), high = std::nan("");
};
struct ConfidenceOfScores {
  Interval map, recall_at_1;
};
struct Confidence {
  BootstrapOptions options;
  std::vector<ConfidenceOfScores> directions;  // as many as were given
  ConfidenceOfScores mean;                     // of the mean over them
};

// Draws items with replacement, as many as count, and takes the measures of each draw in float64; the intervals run
// between the quantiles of the draws. directions: their queries have the same numbers. groups: empty, or one a query;
// queries of one group (0 or more) are one item and come together, any other is an item of its own. An item counts
// where a query of it counts in some direction; a draw without a query that counts in a direction says nothing of it,
// nor of the mean. A function of values, groups and options alone, whatever the machine's threads.
Confidence bootstrap(const Directions& directions, const std::vector<int32_t>& groups,
                     const BootstrapOptions& options = {});

// {"level": 0.95, "draws", "seed", "map": {"a_to_v": [low, high], "v_to_a", "mean"}, "recall": {"1": {...}}}; of one
// direction [low, high] in place of the object, null in place of an interval where there is nothing to measure.
nlohmann::ordered_json to_json(const Confidence& confidence);

}  // namespace duet
