// Reads one checkpoint, whose two files trainer/checkpoint.h describes, and trusts neither.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>

#include "trainer/checkpoint.h"

namespace duet {

// Names in the manifest and in the metadata of the other file.
inline constexpr const char *kCheckpointRun = "run", *kCheckpointBest = "best";

// A file of ours that is not as it was written. One line without the manifest's name.
class DamagedCheckpoint : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// step: of the checkpoint, as its files' names say. Throws DamagedCheckpoint; JsonError and nlohmann::json::exception
// where what should be JSON is none, or is of other types; UsageError for a newer format and a config key that is
// unknown; Error for a tensor that is not there, and where the system refuses a file.
Checkpoint read_checkpoint(const std::filesystem::path& manifest, const std::filesystem::path& tensors, int64_t step);
// The step of the best model that a manifest names; 0: none. Throws as read_checkpoint() does of the manifest.
int64_t best_step_in(const std::filesystem::path& manifest);

}  // namespace duet
