// The program's arguments: which command, told what. CLI11 does the reading; its mistakes come out as UsageError like
// everyone else's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "trainer/config.h"
#include "trainer/device_choice.h"

namespace duet {

struct CommandLine {
  enum class Command { train, eval, embed, search, export_model, import, check, config, info, demo };
  Command command = Command::info;
  // train: all of it; demo: seed, epochs, threads; eval, embed, search: threads; import: map; check: data, map, pool.
  Config config;
  std::vector<std::filesystem::path> sources;  // import
  std::optional<std::filesystem::path> run, data, out, onnx, hub, gallery, query;
  std::string split = "test";
  std::string from, to;  // search: modalities of query and gallery
  int64_t top = 10;      // search: results a query
  bool exclude_self = false;
  bool json = false, schema = false, table = false, force = false, profile = false;
  // train: run is the directory of a run that goes on; other_machine: on whatever machine.
  bool resume = false, other_machine = false;
  DeviceChoice device;
  std::vector<std::string> notes;  // lines to print first: what was given and has no effect
};

// Empty where the arguments asked for help or the version, which have been printed then.
std::optional<CommandLine> parse_command_line(int argc, char** argv);

}  // namespace duet
