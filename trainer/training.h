// One training, from a config to its result: data, device, model and folder are made, the loop runs, and what there is
// to know on the way is said on standard error.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "trainer/device_choice.h"
#include "trainer/loop.h"

namespace duet {

struct TrainingOrder {
  Config config;
  DeviceChoice device;
  std::optional<std::filesystem::path> directory;  // none: nothing is written
  bool announce = true;                            // say what the data and the device are
  bool resume = false;                             // directory is that of a run that goes on;
  bool other_machine = false;                      // on whatever machine
  PhaseTimes* times = nullptr;                     // null: no phase is timed
  Ranks* ranks = nullptr;  // that train together, each by this order; rank 0 writes; null: this process alone
  std::function<void()> ranks_done = [] {};  // called when the ranks have no more to tell each other
  int64_t default_threads = 0;  // CPU threads where the config leaves them open; 0: as many as this process may use
};

struct Training {
  TrainingResult result;
  std::array<std::string, data::kModalities> modalities;
};

// Throws UsageError where the order cannot be carried out, and what train() throws. What ends one rank before its first
// step ends all.
Training run_training(TrainingOrder order);

}  // namespace duet
