// Runs that stopped, and what they are compared with.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/duet.h"
#include "runtime/safetensors.h"
#include "tests/trainer/program.h"

namespace duet::testing {

using nlohmann::json;

// 4 batches an epoch, the last of 48 rows; 3 epochs.
inline std::vector<std::string> train(const std::string& data, const std::string& run,
                                      std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train",
                                        "--data",
                                        data,
                                        "--run",
                                        run,
                                        "--labels",
                                        "0.5",
                                        "--epochs",
                                        "3",
                                        "--set",
                                        "hidden_units=16",
                                        "embedding_dim=8",
                                        "--set",
                                        "batch_size=64",
                                        "evaluate_every_epochs=2",
                                        "--log-every",
                                        "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

inline Outcome resume(const std::string& run, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"train", "--resume", run};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments);
}

// The tensors of a run's model, and its metrics but for their times.
inline std::map<std::string, std::string> tensors_of(const fs::path& run,
                                                     const std::string& name = "model.safetensors") {
  const SafetensorsFile file(run / name);
  std::map<std::string, std::string> tensors;
  for (const NamedArray& array : file.arrays())
    tensors[array.name] = {
        static_cast<const char*>(array.data),
        static_cast<size_t>(array.size()) * (array.dtype == DUET_DTYPE_F32 || array.dtype == DUET_DTYPE_I32 ? 4 : 8)};
  return tensors;
}

inline std::vector<json> metrics_of(const fs::path& run) {
  std::vector<json> lines;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    lines.push_back(json::parse(line));
    lines.back().erase("seconds");
  }
  return lines;
}

inline void check_same(const fs::path& run, const fs::path& whole) {
  INFO(run.string());
  CHECK(tensors_of(run) == tensors_of(whole));
  CHECK(metrics_of(run) == metrics_of(whole));
}

inline void check_refused(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("duet: "));
  CHECK(outcome.err.find(words) != std::string::npos);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

inline void flip_bit(const fs::path& path, size_t byte) {
  std::string bytes = read_text(path);
  REQUIRE(byte < bytes.size());
  bytes[byte] = static_cast<char>(bytes[byte] ^ 4);
  write_text(path, bytes);
}

inline std::map<std::string, std::string> files_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path().string()] = read_text(entry.path());
  return files;
}

// A run that stopped after 7 of its 12 steps, with checkpoints of steps 6 and 7, and one that did not.
struct Stopped {
  TemporaryFolder folder;
  std::string data = folder / "data", run = folder / "run", whole = folder / "whole";
  explicit Stopped(bool with_whole = false) {
    write_small_set(data);
    REQUIRE(run_program(train(data, run, {"--steps", "7", "--set", "checkpoint_every_steps=2"})).code == 0);
    if (with_whole) REQUIRE(run_program(train(data, whole)).code == 0);
  }
  fs::path checkpoint(int step, const std::string& ending = ".safetensors") const {
    return fs::path(run) / "checkpoints" / ("step-" + std::to_string(step) + ending);
  }
};

}  // namespace duet::testing
