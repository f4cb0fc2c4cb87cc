// The small set with a validation split, and runs that validate on it.
#pragma once

#include <doctest/doctest.h>

#include <random>

#include "tests/trainer/stopped_run.h"

namespace duet::testing {

// Rows first ... first + rows - 1.
inline data::Split rows_of(const data::Split& split, int64_t first, int64_t rows) {
  data::Split out;
  for (size_t side = 0; side < data::kModalities; ++side) {
    const data::Features& from = split.features[side];
    out.features[side] = data::Features(rows, from.columns);
    std::copy_n(from.row(first), rows * from.columns, out.features[side].row(0));
  }
  out.labels.assign(split.labels.begin() + first, split.labels.begin() + first + rows);
  return out;
}

// noise: labels of the training split are drawn but for every so many-th row of each class; 0: none are.
inline void write_validation_set(const fs::path& folder, int noise = 0) {
  data::SyntheticOptions options = small_set();
  options.test_rows = 140;
  data::Dataset set = data::synthetic_dataset(options);
  std::mt19937 draw(1);  // its numbers are the same everywhere
  for (size_t i = 0; noise > 0 && i < set.train.labels.size(); ++i)
    if (i / 4 % static_cast<size_t>(noise) != 0) set.train.labels[i] = static_cast<int32_t>((draw() >> 8) % 4);
  const data::Split all = set.test;
  set.test = rows_of(all, 80, 60);
  test::write_dataset(folder, set);
  set.test = rows_of(all, 0, 80);
  test::write_dataset(folder / "other", set);
  fs::rename(folder / "other/test", folder / "val");
  fs::remove_all(folder / "other");
}

// Lines of metrics.jsonl that say an evaluation of this split, by this model where that is named.
inline std::vector<json> evaluations_of(const fs::path& run, const std::string& split, const std::string& model = "") {
  std::vector<json> lines;
  for (const json& line : metrics_of(run))
    if (line.value("split", "") == split && (model.empty() || line.value("model", "") == model)) lines.push_back(line);
  return lines;
}

inline double map_of(const json& line) { return line["map"]["mean"].get<double>(); }

// What duet eval prints of a run is what a line of its metrics says.
inline void check_measured(const std::string& run, const std::string& data, std::vector<std::string> more,
                           const json& line) {
  std::vector<std::string> arguments = {"eval", "--run", run, "--data", data, "--json", "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = run_program(arguments);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const json found = json::parse(outcome.out);
  CHECK(found["map"]["mean"].is_number());
  for (const auto& measure : found.items())
    if (line.contains(measure.key())) CHECK_MESSAGE(measure.value() == line[measure.key()], measure.key());
}

inline json best_of(const fs::path& run) {
  return json::parse(SafetensorsFile(run / "best.safetensors").metadata().at("best"));
}

}  // namespace duet::testing
