#include "trainer/report.h"

#include <algorithm>

#include "data/dataset.h"
#include "runtime/printable.h"
#include "trainer/text_table.h"

namespace duet {
namespace {

constexpr double kManyCoincide = 0.01;  // a share of embeddings past which ties are worth a warning

// The cells of one row: a number a direction and, of two, their mean.
std::vector<double> with_mean(std::vector<double> values) {
  if (values.size() == 2) values.push_back((values[0] + values[1]) / 2);
  return values;
}

// "0.822 [0.801, 0.841]": a sample of queries tells no more digits.
std::string with_interval(double value, const Interval& interval) {
  if (std::isnan(interval.low)) return fixed_text(value, 4);
  return fixed_text(value, 3) + " [" + fixed_text(interval.low, 3) + ", " + fixed_text(interval.high, 3) + "]";
}

}  // namespace

std::string report_table(const std::vector<ReportRow>& rows, const std::string& modality_a,
                         const std::string& modality_v) {
  std::vector<Cells> cells = {{"method", "MAP " + modality_a + " to " + modality_v,
                               "MAP " + modality_v + " to " + modality_a, "mean", "R@1", "seconds"}};
  for (const ReportRow& row : rows)
    cells.push_back({row.name, fixed_text(row.evaluation.a_to_v.map, 3), fixed_text(row.evaluation.v_to_a.map, 3),
                     fixed_text(row.evaluation.mean_map(), 3), fixed_text(row.evaluation.mean_recall_at_1(), 3),
                     fixed_text(row.seconds, 1)});
  return text_table(cells);
}

std::vector<std::string> direction_names(const std::string& from, const std::string& to, size_t directions) {
  std::vector<std::string> names = {from + " to " + to, to + " to " + from};
  names.resize(directions);
  return names;
}

std::string evaluation_table(const Directions& directions, const std::vector<std::string>& names,
                             const Confidence* confidence) {
  std::vector<Cells> cells = {{"measure"}};
  cells[0].insert(cells[0].end(), names.begin(), names.end());
  if (directions.size() == 2) cells[0].push_back("mean");
  using Intervals = Interval ConfidenceOfScores::*;
  const auto add = [&](const std::string& name, const auto& get, Intervals intervals = nullptr) {
    std::vector<double> values;
    for (const DirectionScores* scores : directions) values.push_back(get(*scores));
    Cells& row = cells.emplace_back(Cells{name});
    for (const double value : with_mean(std::move(values))) {
      const size_t column = row.size() - 1;
      const bool is_mean = column == directions.size();
      row.push_back(confidence && intervals
                        ? with_interval(value, (is_mean ? confidence->mean : confidence->directions[column]).*intervals)
                        : fixed_text(value, 4));
    }
  };
  const auto add_cutoffs = [&](const std::string& name, std::array<double, 3> DirectionScores::*member,
                               Intervals of_first) {
    for (size_t k = 0; k < kRecallCutoffs.size(); ++k)
      add(
          name + std::to_string(kRecallCutoffs[k]), [&](const DirectionScores& scores) { return (scores.*member)[k]; },
          k == 0 ? of_first : nullptr);
  };
  add(
      "MAP", [](const DirectionScores& scores) { return scores.map; }, &ConfidenceOfScores::map);
  add("MAP@R", [](const DirectionScores& scores) { return scores.map_at_r; });
  add("map_over_cutoffs", [](const DirectionScores& scores) { return scores.map_over_cutoffs; });
  add_cutoffs("recall@", &DirectionScores::recall, &ConfidenceOfScores::recall_at_1);
  if (directions.size() > 1 || !std::isnan(directions[0]->pair_recall[0])) {
    add("matching_1_of_2", [](const DirectionScores& scores) { return scores.matching_1_of_2; });
    add_cutoffs("pair_recall@", &DirectionScores::pair_recall, nullptr);
  }
  return text_table(cells);
}

std::string class_table(const Directions& directions, const std::vector<std::string>& names,
                        const data::Classes& called) {
  std::vector<Cells> cells = {{"class"}};
  for (const std::string& name : names) cells[0].push_back("queries " + name);
  for (const std::string& name : names) cells[0].push_back("MAP " + name);
  if (directions.size() == 2) cells[0].push_back("mean");
  for (const auto& [label, scores] : by_class(directions)) {
    Cells& row = cells.emplace_back(Cells{printable(called.name(label))});
    std::vector<double> maps;
    for (const ClassScores& each : scores) {
      row.push_back(std::to_string(each.queries));
      maps.push_back(each.map);
    }
    for (const double map : with_mean(std::move(maps))) row.push_back(fixed_text(map, 4));
  }
  return text_table(cells);
}

std::string coincidence_warning(const std::string& which, double share) {
  if (share <= kManyCoincide) return "";
  return "warning: " + fixed_text(100 * share, 1) + " % of the " + which +
         " embeddings equal another item's; a measure is then its mean over the orders of equal scores\n";
}

std::string coincidence_warning(const Evaluation& evaluation, const std::string& modality_a,
                                const std::string& modality_v) {
  return coincidence_warning(modality_a, evaluation.coinciding[0]) +
         coincidence_warning(modality_v, evaluation.coinciding[1]);
}

}  // namespace duet
