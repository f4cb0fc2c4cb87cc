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
  enum class Command { train, eval, embed, info, demo, import, check };
  Command command = Command::info;
  // train: all of it; demo: seed, epochs, threads; eval, embed: threads; import: map; check: data, map, pool.
  Config config;
  std::vector<std::filesystem::path> sources;  // import
  std::optional<std::filesystem::path> run, data, out;
  std::string split = "test";
  bool json = false, keys = false, force = false, profile = false;
  DeviceChoice device;
  std::vector<std::string> notes;  // lines to print first: what was given and has no effect
};

// Empty where the arguments asked for help or the version, which have been printed then.
std::optional<CommandLine> parse_command_line(int argc, char** argv);

}  // namespace duet
