// The folder of one run:
//   config.json         the resolved config: every key with its value; `duet train --config` takes it back
//   machine.json        what the run ran on: version, SIMD target, BLAS core, threads
//   metrics.jsonl       a line per epoch, per evaluation and, with log_every_steps, per such step
//   model.safetensors   the model after the last finished epoch (trainer/model.h)
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

#include "trainer/config.h"

namespace duet {

inline constexpr const char* kModelFile = "model.safetensors";

class RunDirectory {
 public:
  // Throws UsageError unless path is, or can be made, an empty folder that can be written to.
  explicit RunDirectory(const std::filesystem::path& path);

  void write_start(const Config& resolved, const nlohmann::ordered_json& machine);
  // One line, on the disk's way at once, so that it can be followed.
  void add_metrics(const nlohmann::ordered_json& line);
  std::filesystem::path model_path() const { return path_ / kModelFile; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const char* name, const nlohmann::ordered_json& content) const;

  std::filesystem::path path_;
  std::ofstream metrics_;
};

// The facts of machine.json.
nlohmann::ordered_json machine_facts(int threads);

}  // namespace duet
