#include "trainer/evaluation.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "data/dataset.h"

namespace duet {
namespace {

using Json = nlohmann::ordered_json;

// One direction's value as it is, those of both as an object.
Json by_direction(std::vector<Json> values) {
  if (values.size() == 1) return std::move(values[0]);
  return {{"a_to_v", std::move(values[0])}, {"v_to_a", std::move(values[1])}};
}

// get(direction): what is not averaged.
template <class Get>
Json each(const Directions& directions, const Get& get) {
  std::vector<Json> values;
  for (const DirectionScores* scores : directions) values.push_back(get(*scores));
  return by_direction(std::move(values));
}

// values: a number a direction.
Json with_mean(const std::vector<double>& values) {
  Json object = by_direction(std::vector<Json>(values.begin(), values.end()));
  if (values.size() == 2) object["mean"] = (values[0] + values[1]) / 2;
  return object;
}

template <class Get>
Json measure(const Directions& directions, const Get& get) {
  std::vector<double> values;
  for (const DirectionScores* scores : directions) values.push_back(get(*scores));
  return with_mean(values);
}

Json cutoffs(const Directions& directions, std::array<double, 3> DirectionScores::*member) {
  Json object;
  for (size_t k = 0; k < kRecallCutoffs.size(); ++k)
    object[std::to_string(kRecallCutoffs[k])] =
        measure(directions, [&](const DirectionScores& scores) { return (scores.*member)[k]; });
  return object;
}

Json measures(const Directions& directions) {
  const auto of = [&](double DirectionScores::*member) {
    return measure(directions, [member](const DirectionScores& scores) { return scores.*member; });
  };
  return {{"map", of(&DirectionScores::map)},
          {"map_at_r", of(&DirectionScores::map_at_r)},
          {"map_over_cutoffs", of(&DirectionScores::map_over_cutoffs)},
          {"recall", cutoffs(directions, &DirectionScores::recall)},
          {"matching",
           {{"matching_1_of_2", of(&DirectionScores::matching_1_of_2)},
            {"pair_recall", cutoffs(directions, &DirectionScores::pair_recall)}}},
          {"precision_recall", each(directions, [](const DirectionScores& scores) { return scores.precision_recall; })},
          {"queries", each(directions, [](const DirectionScores& scores) { return scores.queries; })}};
}

}  // namespace

std::map<int32_t, std::vector<ClassScores>> by_class(const Directions& directions) {
  std::map<int32_t, std::vector<ClassScores>> rows;
  for (size_t direction = 0; direction < directions.size(); ++direction)
    for (const ClassScores& scores : directions[direction]->classes) {
      std::vector<ClassScores>& row = rows[scores.label];
      row.resize(directions.size());
      row[direction] = scores;
    }
  return rows;
}

Json to_json(const Evaluation& evaluation) {
  Json object = measures(directions(evaluation));
  object["coinciding"] = {{"a", evaluation.coinciding[0]}, {"v", evaluation.coinciding[1]}};
  return object;
}

Json to_json(const OneWayEvaluation& evaluation) {
  Json object = measures(directions(evaluation));
  object["coinciding"] = {{"query", evaluation.coinciding[0]}, {"gallery", evaluation.coinciding[1]}};
  return object;
}

Json classes_json(const Directions& directions, const data::Classes& called) {
  Json list = Json::array();
  for (const auto& [label, row] : by_class(directions)) {
    Json name = called.name(label);
    if (called.names.empty()) name = called.values[static_cast<size_t>(label)];
    std::vector<Json> queries;
    std::vector<double> maps;
    for (const ClassScores& scores : row) {
      queries.push_back(scores.queries);
      maps.push_back(scores.map);
    }
    list.push_back(
        {{"label", std::move(name)}, {"queries", by_direction(std::move(queries))}, {"map", with_mean(maps)}});
  }
  return list;
}

}  // namespace duet
