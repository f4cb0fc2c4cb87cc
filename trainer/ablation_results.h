// What the cells of an ablation come to: means, deviations, tests; as text, Markdown and JSON.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "trainer/ablation_grid.h"
#include "trainer/sign_flip.h"

namespace duet {

struct AblationCell {
  size_t method, share, seed;  // places in the grid's lists
  auto operator<=>(const AblationCell&) const = default;
};
// Mean MAP of both directions (METHOD.md 7) of the cells that have ended.
using AblationMaps = std::map<AblationCell, double>;

// One method at one label share, over its seeds.
struct AblationSummary {
  size_t method, share;
  int64_t seeds = 0;
  double mean = 0, deviation = 0;  // of the sample, n - 1; NaN of no seed, of fewer than two
  // Against the grid's first method, over the seeds that both have; none of that method itself and without such seeds.
  std::optional<double> difference;
  std::optional<SignFlipTest> test;
};

// A method after another at each share, shares in the grid's order.
std::vector<AblationSummary> summarise(const AblationGrid& grid, const AblationMaps& maps);

// A row a method, two columns a share: mean +- deviation, and p. Then what p is.
std::string ablation_table(const AblationGrid& grid, const AblationMaps& maps);
std::string ablation_markdown(const AblationGrid& grid, const AblationMaps& maps);
nlohmann::ordered_json ablation_facts(const AblationGrid& grid, const AblationMaps& maps);

}  // namespace duet
