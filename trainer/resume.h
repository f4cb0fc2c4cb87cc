// What a run that goes on must share with the run that it was, so that its numbers are those of a run that was never
// interrupted. What differs is refused by name.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "trainer/checkpoint.h"
#include "trainer/preparation.h"

namespace duet {

// By part of the data ("train audio", "test labels", "val groups"), the checksum of its values as training takes them:
// features scaled, labels that the run may see.
nlohmann::ordered_json data_facts(const Preparation& preparation);

// now: the run's config and what was given in its place. Modalities and scalings that were chosen from the data become
// those that were chosen. Throws UsageError where a key differs that may not. Returns a line a key that changes what is
// to come, for the log.
std::vector<std::string> require_same_config(const Checkpoint& checkpoint, Config& now);
// other_machine: a difference is returned as a line and not refused.
std::vector<std::string> require_same_machine(const Checkpoint& checkpoint, const nlohmann::ordered_json& now,
                                              bool other_machine);
void require_same_data(const Checkpoint& checkpoint, const nlohmann::ordered_json& now,
                       const ModelDescription& description);

// The line of metrics.jsonl that says what is other from this step on.
nlohmann::ordered_json resumed_line(const Checkpoint& checkpoint, const std::vector<std::string>& changes);

}  // namespace duet
