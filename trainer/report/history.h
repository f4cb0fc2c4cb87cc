// What a run's folder says of the run: config.json, machine.json, metrics.jsonl.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/config.h"

namespace duet::report {

struct RunHistory {
  Config config;
  nlohmann::json machine;                   // without its format
  std::vector<nlohmann::json> epochs;       // the lines of epochs,
  std::vector<nlohmann::json> evaluations;  // of evaluations
  std::vector<nlohmann::json> resumed;      // and of what a run was resumed with

  // The number under a key, or under keys within one another ("map/mean"), of each line; NaN where it is null or not
  // there.
  static std::vector<double> values(const std::vector<nlohmann::json>& lines, const std::string& path);
  double seconds() const;  // up to the last line of an epoch
  // The last one of the test split; null: there is none.
  const nlohmann::json* last_evaluation() const;
};

// Throws UsageError, naming the folder or the file, where there is no run, or a file or a line of it cannot be read.
RunHistory read_history(const std::filesystem::path& run);
double value_at(const nlohmann::json& line, const std::string& path);
// The split that an evaluation is of, and where it is not of the last model, of which one; a line that does not say is
// of the test split.
std::string split_of(const nlohmann::json& evaluation);

}  // namespace duet::report
