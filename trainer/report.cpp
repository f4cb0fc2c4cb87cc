#include "trainer/report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "runtime/printable.h"

namespace duet {
namespace {

constexpr double kManyCoincide = 0.01;  // a share of embeddings past which ties are worth a warning

using Cells = std::vector<std::string>;

std::string number(double value, int digits) {
  if (std::isnan(value)) return "-";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

// Columns as wide as their widest cell, two spaces apart; the first is a name, the others numbers.
std::string table(const std::vector<Cells>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const Cells& row : rows)
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], row[column].size());
  std::string lines;
  for (const Cells& row : rows) {
    for (size_t column = 0; column < row.size(); ++column) {
      const std::string padding(widths[column] - row[column].size(), ' ');
      lines += column == 0 ? row[column] + padding : "  " + padding + row[column];
    }
    lines += '\n';
  }
  return lines;
}

nlohmann::ordered_json directions(double a_to_v, double v_to_a) {
  return {{"a_to_v", a_to_v}, {"v_to_a", v_to_a}, {"mean", (a_to_v + v_to_a) / 2}};
}

nlohmann::ordered_json cutoffs(const std::array<double, 3>& a_to_v, const std::array<double, 3>& v_to_a) {
  nlohmann::ordered_json object;
  for (size_t k = 0; k < kRecallCutoffs.size(); ++k)
    object[std::to_string(kRecallCutoffs[k])] = directions(a_to_v[k], v_to_a[k]);
  return object;
}

// The scores of one class in both directions.
using ClassRow = std::array<ClassScores, 2>;

std::map<int32_t, ClassRow> by_class(const Evaluation& evaluation) {
  std::map<int32_t, ClassRow> rows;
  for (const ClassScores& scores : evaluation.a_to_v.classes) rows[scores.label][0] = scores;
  for (const ClassScores& scores : evaluation.v_to_a.classes) rows[scores.label][1] = scores;
  return rows;
}

}  // namespace

std::string report_table(const std::vector<ReportRow>& rows, const std::string& modality_a,
                         const std::string& modality_v) {
  std::vector<Cells> cells = {{"method", "MAP " + modality_a + " to " + modality_v,
                               "MAP " + modality_v + " to " + modality_a, "mean", "R@1", "seconds"}};
  for (const ReportRow& row : rows)
    cells.push_back({row.name, number(row.evaluation.a_to_v.map, 3), number(row.evaluation.v_to_a.map, 3),
                     number(row.evaluation.mean_map(), 3), number(row.evaluation.mean_recall_at_1(), 3),
                     number(row.seconds, 1)});
  return table(cells);
}

std::string evaluation_table(const Evaluation& evaluation, const std::string& modality_a,
                             const std::string& modality_v) {
  std::vector<Cells> cells = {{"measure", modality_a + " to " + modality_v, modality_v + " to " + modality_a, "mean"}};
  const auto add = [&](const std::string& name, double a_to_v, double v_to_a) {
    cells.push_back({name, number(a_to_v, 4), number(v_to_a, 4), number((a_to_v + v_to_a) / 2, 4)});
  };
  const DirectionScores &a = evaluation.a_to_v, &v = evaluation.v_to_a;
  add("MAP", a.map, v.map);
  add("MAP@R", a.map_at_r, v.map_at_r);
  add("map_over_cutoffs", a.map_over_cutoffs, v.map_over_cutoffs);
  for (size_t k = 0; k < kRecallCutoffs.size(); ++k)
    add("recall@" + std::to_string(kRecallCutoffs[k]), a.recall[k], v.recall[k]);
  add("matching_1_of_2", a.matching_1_of_2, v.matching_1_of_2);
  for (size_t k = 0; k < kRecallCutoffs.size(); ++k)
    add("pair_recall@" + std::to_string(kRecallCutoffs[k]), a.pair_recall[k], v.pair_recall[k]);
  return table(cells);
}

std::string class_table(const Evaluation& evaluation, const data::Classes& called, const std::string& modality_a,
                        const std::string& modality_v) {
  const std::string a_to_v = modality_a + " to " + modality_v, v_to_a = modality_v + " to " + modality_a;
  std::vector<Cells> cells = {{"class", "queries " + a_to_v, v_to_a, "MAP " + a_to_v, v_to_a, "mean"}};
  for (const auto& [label, row] : by_class(evaluation))
    cells.push_back({printable(called.name(label)), std::to_string(row[0].queries), std::to_string(row[1].queries),
                     number(row[0].map, 4), number(row[1].map, 4), number((row[0].map + row[1].map) / 2, 4)});
  return table(cells);
}

std::string coincidence_warning(const Evaluation& evaluation, const std::string& modality_a,
                                const std::string& modality_v) {
  std::string lines;
  for (const auto& [modality, share] :
       {std::pair{modality_a, evaluation.coinciding[0]}, std::pair{modality_v, evaluation.coinciding[1]}})
    if (share > kManyCoincide)
      lines += "warning: " + number(100 * share, 1) + " % of the " + modality +
               " embeddings equal another item's; a measure is then its mean over the orders of equal scores\n";
  return lines;
}

nlohmann::ordered_json to_json(const Evaluation& evaluation) {
  const DirectionScores &a = evaluation.a_to_v, &v = evaluation.v_to_a;
  return {{"map", directions(a.map, v.map)},
          {"map_at_r", directions(a.map_at_r, v.map_at_r)},
          {"map_over_cutoffs", directions(a.map_over_cutoffs, v.map_over_cutoffs)},
          {"recall", cutoffs(a.recall, v.recall)},
          {"matching",
           {{"matching_1_of_2", directions(a.matching_1_of_2, v.matching_1_of_2)},
            {"pair_recall", cutoffs(a.pair_recall, v.pair_recall)}}},
          {"precision_recall", {{"a_to_v", a.precision_recall}, {"v_to_a", v.precision_recall}}},
          {"queries", {{"a_to_v", a.queries}, {"v_to_a", v.queries}}},
          {"coinciding", {{"a", evaluation.coinciding[0]}, {"v", evaluation.coinciding[1]}}}};
}

nlohmann::ordered_json classes_json(const Evaluation& evaluation, const data::Classes& called) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [label, row] : by_class(evaluation)) {
    nlohmann::ordered_json name = called.name(label);
    if (called.names.empty()) name = called.values[static_cast<size_t>(label)];
    list.push_back({{"label", std::move(name)},
                    {"queries", {{"a_to_v", row[0].queries}, {"v_to_a", row[1].queries}}},
                    {"map", directions(row[0].map, row[1].map)}});
  }
  return list;
}

}  // namespace duet
