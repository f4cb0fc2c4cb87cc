#include "trainer/confidence.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/core/philox.h"

namespace duet {
namespace {

using Json = nlohmann::ordered_json;

// Of the queries of an item or of a draw that count in one direction.
struct Sums {
  double queries = 0, average_precision = 0, recall_at_1 = 0;

  void add(const Sums& other) {
    queries += other.queries;
    average_precision += other.average_precision;
    recall_at_1 += other.recall_at_1;
  }
};

// Of each item that counts one entry a direction, items in the order of their first queries.
std::vector<Sums> sums_of_items(const Directions& directions, const std::vector<int32_t>& groups) {
  const size_t queries = directions[0]->average_precision.size(), width = directions.size();
  std::vector<Sums> items;
  std::map<int32_t, size_t> places;  // of groups, in items
  for (size_t i = 0; i < queries; ++i) {
    const auto counts = [i](const DirectionScores* scores) { return !std::isnan(scores->average_precision[i]); };
    if (std::ranges::none_of(directions, counts)) continue;
    size_t place = items.size();
    if (!groups.empty() && groups[i] >= 0) place = places.try_emplace(groups[i], place).first->second;
    if (place == items.size()) items.resize(items.size() + width);
    for (size_t direction = 0; direction < width; ++direction)
      if (counts(directions[direction]))
        items[place + direction].add(
            {1, directions[direction]->average_precision[i], directions[direction]->recall_at_1[i]});
  }
  return items;
}

// The quantile of a sample that lies between two of its values in proportion, as numpy.quantile has it.
double quantile(const std::vector<double>& ascending, double share) {
  const double place = share * static_cast<double>(ascending.size() - 1), below = std::floor(place);
  const double low = ascending[static_cast<size_t>(below)];
  const double high = ascending[std::min(static_cast<size_t>(below) + 1, ascending.size() - 1)];
  return low + (high - low) * (place - below);
}

Interval interval_of(std::vector<double> draws) {
  std::erase_if(draws, [](double value) { return std::isnan(value); });
  if (draws.empty()) return {};
  std::ranges::sort(draws);
  constexpr double kTail = (1 - kConfidenceLevel) / 2;
  return {quantile(draws, kTail), quantile(draws, 1 - kTail)};
}

// A measure of each draw.
struct Samples {
  std::vector<double> map, recall_at_1;

  ConfidenceOfScores intervals() const { return {interval_of(map), interval_of(recall_at_1)}; }
};

Json to_json(const Interval& interval) {
  if (std::isnan(interval.low)) return nullptr;
  return {interval.low, interval.high};
}

Json to_json(const Confidence& confidence, Interval ConfidenceOfScores::*measure) {
  const auto& directions = confidence.directions;
  if (directions.size() == 1) return to_json(directions[0].*measure);
  return {{"a_to_v", to_json(directions[0].*measure)},
          {"v_to_a", to_json(directions[1].*measure)},
          {"mean", to_json(confidence.mean.*measure)}};
}

}  // namespace

Confidence bootstrap(const Directions& directions, const std::vector<int32_t>& groups,
                     const BootstrapOptions& options) {
  const std::vector<Sums> items = sums_of_items(directions, groups);
  const size_t width = directions.size(), count = items.size() / width;
  std::vector<Samples> samples(width);
  Samples means;
  std::vector<Sums> drawn(width);
  for (int64_t draw = 0; draw < options.draws && count > 1; ++draw) {
    std::ranges::fill(drawn, Sums{});
    for (size_t e = 0; e < count; e += 4) {
      const PhiloxBlock words = random_block(options.seed, kStreamBootstrap, static_cast<uint32_t>(draw), e / 4);
      for (size_t k = 0; k < std::min<size_t>(4, count - e); ++k) {
        const size_t item = words[k] * uint64_t{count} >> 32;
        for (size_t direction = 0; direction < width; ++direction)
          drawn[direction].add(items[item * width + direction]);
      }
    }
    double map = 0, recall = 0;
    for (size_t direction = 0; direction < width; ++direction) {
      const Sums& sums = drawn[direction];  // without queries 0 / 0, NaN
      samples[direction].map.push_back(sums.average_precision / sums.queries);
      samples[direction].recall_at_1.push_back(sums.recall_at_1 / sums.queries);
      map += samples[direction].map.back();
      recall += samples[direction].recall_at_1.back();
    }
    means.map.push_back(map / static_cast<double>(width));
    means.recall_at_1.push_back(recall / static_cast<double>(width));
  }
  Confidence confidence{options, {}, means.intervals()};
  for (const Samples& each : samples) confidence.directions.push_back(each.intervals());
  return confidence;
}

Json to_json(const Confidence& confidence) {
  return {{"level", kConfidenceLevel},
          {"draws", confidence.options.draws},
          {"seed", confidence.options.seed},
          {"map", to_json(confidence, &ConfidenceOfScores::map)},
          {"recall", {{"1", to_json(confidence, &ConfidenceOfScores::recall_at_1)}}}};
}

}  // namespace duet
