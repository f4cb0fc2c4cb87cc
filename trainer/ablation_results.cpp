#include "trainer/ablation_results.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "kernels/core/error.h"
#include "trainer/text_table.h"

namespace duet {
namespace {

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

double deviation(const std::vector<double>& values) {
  if (values.size() < 2) return std::nan("");
  const double middle = mean(values);
  double square = 0;
  for (const double value : values) square += (value - middle) * (value - middle);
  return std::sqrt(square / static_cast<double>(values.size() - 1));
}

AblationSummary summary_of(const AblationGrid& grid, const AblationMaps& maps, size_t method, size_t share) {
  std::vector<double> values, differences;
  for (size_t seed = 0; seed < grid.seeds.size(); ++seed) {
    const auto own = maps.find({method, share, seed}), first = maps.find({0, share, seed});
    if (own == maps.end()) continue;
    values.push_back(own->second);
    if (method > 0 && first != maps.end()) differences.push_back(own->second - first->second);
  }
  AblationSummary out{.method = method,
                      .share = share,
                      .seeds = std::ssize(values),
                      .mean = mean(values),
                      .deviation = deviation(values)};
  if (differences.empty()) return out;
  out.difference = mean(differences);
  out.test = sign_flip_test(differences);
  return out;
}

// "0.913 +- 0.005", and where seeds are missing how many there are.
std::string spread_text(const AblationSummary& summary, size_t seeds, const char* sign) {
  if (summary.seeds == 0) return "-";
  std::string words = fixed_text(summary.mean, 3);
  if (summary.seeds > 1) words += text(" ", sign, " ", fixed_text(summary.deviation, 3));
  if (static_cast<size_t>(summary.seeds) < seeds)
    words += text(" (", summary.seeds, summary.seeds == 1 ? " seed)" : " seeds)");
  return words;
}

std::string p_text(const AblationSummary& summary) { return summary.test ? number_text(summary.test->p, 2) : "-"; }

std::string test_words(const AblationGrid& grid) {
  const auto seeds = std::ssize(grid.seeds);
  const std::string first = text("p: two-sided sign-flip permutation test of the differences from '",
                                 grid.methods.front().name, "', paired by seed, ");
  if (seeds > kMostExactSigns) return text(first, kSignDraws, " draws of the signs of ", seeds, " seeds.");
  return text(first, "all signs: over ", seeds, seeds == 1 ? " seed" : " seeds", " it cannot be below ",
              number_text(std::ldexp(1.0, static_cast<int>(1 - seeds))), ".");
}

std::vector<Cells> rows_of(const AblationGrid& grid, const AblationMaps& maps, const char* sign) {
  std::vector<Cells> rows = {{"method"}};
  for (const AblationMethod& method : grid.methods) rows.push_back({method.name});
  for (const double share : grid.labels) {
    rows[0].push_back("labels " + share_text(share));
    rows[0].push_back("p");
  }
  for (const AblationSummary& summary : summarise(grid, maps)) {
    rows[1 + summary.method].push_back(spread_text(summary, grid.seeds.size(), sign));
    rows[1 + summary.method].push_back(p_text(summary));
  }
  return rows;
}

}  // namespace

std::vector<AblationSummary> summarise(const AblationGrid& grid, const AblationMaps& maps) {
  std::vector<AblationSummary> out;
  for (size_t share = 0; share < grid.labels.size(); ++share)
    for (size_t method = 0; method < grid.methods.size(); ++method)
      out.push_back(summary_of(grid, maps, method, share));
  return out;
}

std::string ablation_table(const AblationGrid& grid, const AblationMaps& maps) {
  return text(text_table(rows_of(grid, maps, "+-")), test_words(grid), "\n");
}

std::string ablation_markdown(const AblationGrid& grid, const AblationMaps& maps) {
  std::string lines;
  for (const Cells& row : rows_of(grid, maps, "±")) {
    const bool is_head = lines.empty();
    for (const std::string& cell : row) lines += "| " + cell + " ";
    lines += "|\n";
    for (size_t column = 0; is_head && column < row.size(); ++column) lines += "| --- ";
    if (is_head) lines += "|\n";
  }
  return text("MAP on the test split, mean of both directions; mean and sample deviation over ", grid.seeds.size(),
              grid.seeds.size() == 1 ? " seed.\n\n" : " seeds.\n\n", lines, "\n", test_words(grid), "\n");
}

nlohmann::ordered_json ablation_facts(const AblationGrid& grid, const AblationMaps& maps) {
  nlohmann::ordered_json cells = nlohmann::ordered_json::array(), summaries = cells;
  for (const auto& [cell, map] : maps)
    cells.push_back({{"method", grid.methods[cell.method].name},
                     {"labels", grid.labels[cell.share]},
                     {"seed", grid.seeds[cell.seed]},
                     {"map", map}});
  for (const AblationSummary& each : summarise(grid, maps)) {
    nlohmann::ordered_json line = {{"method", grid.methods[each.method].name},
                                   {"labels", grid.labels[each.share]},
                                   {"seeds", each.seeds},
                                   {"mean", each.mean},
                                   {"deviation", each.deviation}};
    if (each.test) {
      line["difference"] = *each.difference;
      line["p"] = each.test->p;
      line["all_signs"] = each.test->exact;
    }
    summaries.push_back(std::move(line));
  }
  return {{"measure", "map, mean of both directions"},
          {"compared_with", grid.methods.front().name},
          {"summary", std::move(summaries)},
          {"cells", std::move(cells)}};
}

}  // namespace duet
