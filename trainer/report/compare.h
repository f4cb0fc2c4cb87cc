// Several runs side by side.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/report/history.h"

namespace duet::report {

struct ComparedRun {
  std::string name;  // the folder as it was given
  RunHistory history;
  nlohmann::json data;      // checksums of the data, by the newest checkpoint; null where there is none
  bool other_data = false;  // than the first run's: their figures say nothing about each other
};

// Throws UsageError, naming the folder, where one is no run.
std::vector<ComparedRun> read_runs(const std::vector<std::filesystem::path>& runs);

// A row a run, then a row a key that differs; a line where a run is of other data.
std::string comparison_text(const std::vector<ComparedRun>& runs);
// The same as a page, with the runs' curves over each other.
std::string comparison_page(const std::vector<ComparedRun>& runs);

}  // namespace duet::report
