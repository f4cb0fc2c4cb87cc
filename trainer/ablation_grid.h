// What an ablation is made of: methods x label shares x seeds on one data set, as a file says it.
//   {
//     "data": "my-data",                        // without it the digits embedded in the program
//     "base": {"epochs": 60},                   // config keys of every method
//     "methods": [
//       "psd",                                  // a method of duet train or duet baseline
//       {"name": "psd without lift", "set": {"lift": false}},
//       {"name": "cca", "method": "cca", "ridge": 1}
//     ],
//     "labels": [1, 0.1],
//     "seeds": [0, 1, 2, 3, 4]
//   }
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "trainer/config.h"

namespace duet {

// Of the ablation's folder, beside the folders of its methods.
inline constexpr const char *kGridFile = "grid.json", *kAblationLock = "lock", *kAblationFile = "ablation.json",
                            *kAblationPage = "ablation.md";

struct AblationMethod {
  std::string name;    // of its folder too
  std::string method;  // of duet train, or cca or cluster_cca
  Config config;       // with the grid's data; labels and seed are the cell's
  double ridge = 0;    // of a baseline

  bool is_baseline() const;
};

struct AblationGrid {
  std::vector<AblationMethod> methods;  // the first is what the others are compared with
  std::vector<double> labels;
  std::vector<uint64_t> seeds;
};

// data: in place of the file's. Comments are passed over. notes: keys without effect, a line each. Throws UsageError,
// naming the file and the key: a key that is unknown, missing or of the wrong kind, a name or number given twice,
// config keys that do not fit together or belong elsewhere.
AblationGrid read_grid(const std::filesystem::path& file, const std::optional<std::string>& data,
                       std::vector<std::string>& notes);

// For the folder's own record: all that decides about a cell's numbers, and not where the data lie.
nlohmann::ordered_json to_json(const AblationGrid& grid);
// Throws UsageError, naming what differs, unless now has every cell of a grid that to_json() gave, as it was. source:
// the file that holds it.
void require_only_adds(const nlohmann::json& before, const AblationGrid& now, const std::string& source);

// A share as its folder is called: the fewest digits that read as the same number.
std::string share_text(double share);

}  // namespace duet
