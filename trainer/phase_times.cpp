#include "trainer/phase_times.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace duet {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void PhaseTimes::begin_step() {
  ++steps_;
  last_ = Clock::now();
}

void PhaseTimes::end_phase(const char* name) {
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - last_).count();
  last_ = now;
  auto phase = std::ranges::find(phases_, name, &Phase::name);
  if (phase == phases_.end()) phase = phases_.insert(phases_.end(), {name, {}});
  phase->seconds.push_back(seconds);
}

std::vector<PhaseTimes::Row> PhaseTimes::rows() const {
  std::vector<Row> rows;
  double sum = 0;
  for (const Phase& phase : phases_) {
    rows.push_back({phase.name, 1e3 * median(phase.seconds), 0});
    sum += rows.back().milliseconds;
  }
  for (Row& row : rows) row.share = sum > 0 ? row.milliseconds / sum : 0;
  return rows;
}

std::string PhaseTimes::table() const {
  char line[100];
  std::string lines;
  std::snprintf(line, sizeof line, "%-12s  %12s  %8s\n", "phase", "ms a step", "share, %");
  lines += line;
  for (const Row& row : rows()) {
    std::snprintf(line, sizeof line, "%-12s  %12.4f  %8.1f\n", row.name.c_str(), row.milliseconds, 100 * row.share);
    lines += line;
  }
  return lines;
}

nlohmann::ordered_json PhaseTimes::to_json() const {
  nlohmann::ordered_json phases = nlohmann::ordered_json::array();
  for (const Row& row : rows())
    phases.push_back({{"phase", row.name}, {"milliseconds", row.milliseconds}, {"share", row.share}});
  return {{"steps", steps_}, {"phases", phases}};
}

}  // namespace duet
