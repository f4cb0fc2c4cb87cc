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
  enum class Command { train, eval, embed, info, demo };
  Command command = Command::info;
  Config config;  // train: all of it; demo: seed, epochs, threads; eval, embed: threads
  std::optional<std::filesystem::path> run, data, out;
  std::string split = "test";
  bool json = false, keys = false, force = false, profile = false;
  // train: run is the directory of a run that goes on; other_machine: on whatever machine.
  bool resume = false, other_machine = false;
  DeviceChoice device;
};

// Empty where the arguments asked for help or the version, which have been printed then.
std::optional<CommandLine> parse_command_line(int argc, char** argv);

}  // namespace duet
