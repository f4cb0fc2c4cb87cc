// The measures of METHOD.md 7 for one model on one set of pairs, or on queries and a gallery: plain numbers, NaN where
// there is nothing to measure.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace duet {

namespace data {
struct Classes;
}

inline constexpr std::array<int64_t, 3> kRecallCutoffs = {1, 5, 10};

// Of the queries of one class.
struct ClassScores {
  int32_t label = 0;    // the class's id (data/dataset.h)
  int64_t queries = 0;  // that count
  double map = std::nan("");
};

struct DirectionScores {
  int64_t queries = 0;  // that count: labelled, with a relevant item
  double map = std::nan(""), map_at_r = std::nan(""), map_over_cutoffs = std::nan("");
  std::array<double, 3> recall = {std::nan(""), std::nan(""), std::nan("")};
  std::array<double, 11> precision_recall = {};
  double matching_1_of_2 = std::nan("");
  std::array<double, 3> pair_recall = {std::nan(""), std::nan(""), std::nan("")};
  // Those with a query that counts, ascending by label. A query of several classes counts in each of them.
  std::vector<ClassScores> classes;
  std::vector<float> average_precision, recall_at_1;  // of each query, NaN where it does not count
};

struct Evaluation {
  DirectionScores a_to_v, v_to_a;
  std::array<double, 2> coinciding = {0, 0};  // share of a side's embeddings that equal another item's, bit for bit
  double mean_map() const { return (a_to_v.map + v_to_a.map) / 2; }
  double mean_recall_at_1() const { return (a_to_v.recall[0] + v_to_a.recall[0]) / 2; }
};

// Of queries and a gallery, which need not be pairs.
struct OneWayEvaluation {
  DirectionScores scores;
  std::array<double, 2> coinciding = {0, 0};  // of the queries, of the gallery
};

// One direction, or both of an Evaluation, first a_to_v. It owns nothing.
using Directions = std::vector<const DirectionScores*>;
inline Directions directions(const Evaluation& evaluation) { return {&evaluation.a_to_v, &evaluation.v_to_a}; }
inline Directions directions(const OneWayEvaluation& evaluation) { return {&evaluation.scores}; }

// By class id the scores of each direction; without a query where the direction has none of that class.
std::map<int32_t, std::vector<ClassScores>> by_class(const Directions& directions);

// {"map": {"a_to_v", "v_to_a", "mean"}, "map_at_r", "map_over_cutoffs" likewise, "recall": {"1": {...}, "5", "10"},
// "matching": {"matching_1_of_2": {...}, "pair_recall": {"1": {...}, ...}}, "precision_recall": {"a_to_v": [11],
// "v_to_a": [11]}, "queries": {...}, "coinciding": {"a", "v"}};
// null where there is nothing to measure.
nlohmann::ordered_json to_json(const Evaluation& evaluation);
// The same with a plain value for each object of directions, and "coinciding": {"query", "gallery"}.
nlohmann::ordered_json to_json(const OneWayEvaluation& evaluation);
// [{"label": 3 or "dog", "queries": {"a_to_v", "v_to_a"}, "map": {"a_to_v", "v_to_a", "mean"}}, ...], a class with a
// query that counts each; of one direction plain values. called: what the ids stand for.
nlohmann::ordered_json classes_json(const Directions& directions, const data::Classes& called);

}  // namespace duet
