// `duet info`: version and machine facts.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/array_file.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"

namespace duet {
namespace {

// "device cuda: NVIDIA H200, compute capability 9.0, 140.0 of 141.2 GB free", "device cuda: not usable: no CUDA device
// on this machine".
std::string device_line(const nlohmann::ordered_json& device) {
  std::string line = "device " + device["device"].get<std::string>() + ": ";
  if (device.contains("name")) {
    char memory[64];
    std::snprintf(memory, sizeof memory, "%.1f of %.1f GB free", 1e-9 * device["free_bytes"].get<double>(),
                  1e-9 * device["memory_bytes"].get<double>());
    line += text(device["name"].get<std::string>(), ", compute capability ",
                 device["compute_capability"].get<std::string>(), ", ", memory);
    if (device.contains("driver")) line += ", driver " + device["driver"].get<std::string>();
  }
  if (device.contains("threads"))
    line += text(device["threads"].get<int>(), device["threads"] == 1 ? " thread" : " threads");
  if (device.contains("reason"))
    line += text(device.contains("name") ? "; " : "", "not usable: ", device["reason"].get<std::string>());
  return line;
}

class InfoCommand final : public Command {
 public:
  void declare(CLI::App& app) override { app.add_flag("--json", json_, "print JSON"); }
  int run() override;

 private:
  bool json_ = false;
};

int InfoCommand::run() {
  nlohmann::ordered_json facts = program_facts();
  facts["reads"] = data::formats_text();
  facts["devices"] = device_facts();
  if (json_) {
    std::cout << facts.dump(2) << '\n';
  } else {
    for (const auto& [name, value] : facts.items())
      if (name != "devices") std::cout << name << ": " << value.get<std::string>() << '\n';
    for (const nlohmann::ordered_json& device : facts["devices"]) std::cout << device_line(device) << '\n';
  }
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_info() { return std::make_unique<InfoCommand>(); }

}  // namespace duet
