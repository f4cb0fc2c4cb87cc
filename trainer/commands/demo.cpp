// `duet demo`: what progressive self-distillation is good for, on the digits that are linked into the program.
#include <array>
#include <iostream>

#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/report.h"
#include "trainer/training.h"

namespace duet {
namespace {

class DemoCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    place_.declare(app);
    add_key(app, "--seed", "seed", config_, "N");
    add_key(app, "--epochs", "epochs", config_, "N");
  }
  int run() override;

 private:
  Workplace place_;
  Config config_;
};

int DemoCommand::run() {
  std::vector<ReportRow> rows;
  std::array<std::string, data::kModalities> modalities;
  for (const char* method : {"triplet", "psd"}) {
    Config config = config_;
    config.threads = place_.threads;
    config.method = method;
    config.labels = 0.1;
    const Training run = run_training({.config = config, .device = place_.device, .announce = false});
    if (run.result.interrupted_by) {
      std::cerr << "interrupted\n";
      return kExitSignal + run.result.interrupted_by;
    }
    rows.push_back({method, run.result.evaluation, run.result.seconds});
    modalities = run.modalities;
  }
  std::cout << report_table(rows, modalities[0], modalities[1]);
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_demo() { return std::make_unique<DemoCommand>(); }

}  // namespace duet
