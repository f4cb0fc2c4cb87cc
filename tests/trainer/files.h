// A small run and the files that it leaves, for the tests of what the program does to files.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/program.h"

namespace duet::testing::files {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(),
                       kInfinity = std::numeric_limits<float>::infinity();

inline std::vector<std::string> train(const std::string& data, const std::string& run,
                                      std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {
      "train",           "--data",        data,        "--run", run, "--set", "hidden_units=16",
      "embedding_dim=8", "batch_size=64", "--epochs=2"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// One error on standard error, its last line, that holds words; before it at most notes on the inputs' scaling. Nothing
// on standard output.
inline void check_refused(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  const size_t error = outcome.err.find("duet: ");
  REQUIRE(error != std::string::npos);
  CHECK((error == 0 || outcome.err[error - 1] == '\n'));
  CHECK(outcome.err.find(words, error) != std::string::npos);
  CHECK(outcome.err.find('\n', error) == outcome.err.size() - 1);
}

// The last line of what a run said holds words.
inline void check_ended(const Outcome& outcome, int code, const std::string& words) {
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.err.substr(outcome.err.rfind("duet: ")).find(words) != std::string::npos);
}

inline std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

// Writes the run's model again with one number of a tensor changed.
inline void plant(const fs::path& run, const std::string& tensor, size_t element, float value) {
  const fs::path path = run / "model.safetensors";
  std::string bytes = read_text(path);
  uint64_t header = 0;
  std::copy_n(bytes.data(), 8, reinterpret_cast<char*>(&header));
  const nlohmann::json entry = nlohmann::json::parse(bytes.substr(8, header))[tensor];
  const size_t at = 8 + header + entry["data_offsets"][0].get<size_t>() + element * sizeof(float);
  bytes.replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
  write_text(path, bytes);
}

struct Trained {
  TemporaryFolder folder;
  std::string data = folder / "data", run = folder / "run", out = folder / "out";
  Trained() {
    write_small_set(data);
    const Outcome outcome = run_program(train(data, run));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
  }
  std::vector<std::string> embed(const std::string& to, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"embed", "--run", run, "--data", data, "--out", to};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

}  // namespace duet::testing::files
