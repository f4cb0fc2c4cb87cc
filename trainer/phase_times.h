// How long the phases of a training step take: what `duet train --profile` prints and writes.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace duet {

// Steps are done phase by phase then, each waited for, and not replayed: their sum is more than a step takes otherwise.
class PhaseTimes {
 public:
  // Called where a step begins, and at the end of each phase, when its work is done. Phases of a name belong together.
  void begin_step();
  void end_phase(const char* name);

  bool empty() const { return phases_.empty(); }
  // A row a phase, in the order of a step: name, milliseconds a step (median over the steps), share of their sum.
  std::string table() const;
  // {"steps", "phases": [{"phase", "milliseconds", "share"}]}
  nlohmann::ordered_json to_json() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Phase {
    std::string name;
    std::vector<double> seconds;  // one a step
  };
  struct Row {
    std::string name;
    double milliseconds, share;
  };
  std::vector<Row> rows() const;

  std::vector<Phase> phases_;
  int64_t steps_ = 0;
  Clock::time_point last_;
};

}  // namespace duet
