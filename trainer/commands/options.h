// Options that several commands have, and what they print alike.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "trainer/config.h"
#include "trainer/device_choice.h"
#include "trainer/model.h"

namespace duet {

// Where a command works: --threads, --device, --precision.
struct Workplace {
  DeviceChoice device;
  int64_t threads = 0;  // 0: what affinity mask and cgroup allow

  void declare(CLI::App& app);
  // As choose_device(), and says where it is where that is news: a device that is no CPU, or why it is the CPU.
  ChosenDevice choose() const;
};

// --device and --precision.
void declare_device(CLI::App& app, DeviceChoice& device);

// An option whose value is text. A path that is given must not be empty: an empty one is a variable that was not set.
CLI::Option* add_text(CLI::App& app, const std::string& option, std::string& target, const std::string& description,
                      const std::string& value_name);
CLI::Option* add_path(CLI::App& app, const std::string& option, std::optional<std::filesystem::path>& target,
                      const std::string& description, const std::string& value_name);
// An option that sets a key of config; its description is the key's.
CLI::Option* add_key(CLI::App& app, const std::string& option, const std::string& key, Config& config,
                     const std::string& value_name);
// "--run", required: the directory of a trained run.
CLI::Option* add_run(CLI::App& app, std::optional<std::filesystem::path>& run);
// "--best": the best model in place of the last one.
void add_best(CLI::App& app, bool& best);
// "--data" and "--split" of a command that reads one split.
void add_split(CLI::App& app, std::optional<std::filesystem::path>& data, std::string& split);
// The data that was given or, without it, that the model's run was trained on; empty: the digits in the program.
std::filesystem::path data_for(const std::optional<std::filesystem::path>& given, const Model& model);
void add_force(CLI::App& app, bool& force);

// A key's description, its choices and its default.
std::string key_words(const ConfigKey& key);

// Where the last model of a run is, or the best one. Throws UsageError where there is none.
std::filesystem::path model_path(const std::filesystem::path& run, bool best);
std::unique_ptr<Model> load_model(const std::filesystem::path& run, bool best, duet_context* context);

// Lines for standard error. They may hold a path or a name in a file, which may hold anything.
void print_notes(const std::vector<std::string>& lines);
std::string shown_path(const std::filesystem::path& path);

}  // namespace duet
