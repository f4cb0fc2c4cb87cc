// `duet ablate`: methods x label shares x seeds, each cell in a process of its own, and what they come to.
#include <iostream>
#include <nlohmann/json.hpp>

#include "runtime/device.h"
#include "trainer/ablation_run.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/format.h"
#include "trainer/output_files.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostProcesses = 1024;

class AblateCommand final : public Command {
 public:
  void declare(CLI::App& app) override;
  int run() override;

 private:
  std::optional<fs::path> grid_, data_, out_;
  std::optional<int64_t> processes_;
};

void AblateCommand::declare(CLI::App& app) {
  add_path(app, "GRID", grid_, "JSON file of the methods, label shares and seeds (docs/ABLATIONS.md)", "GRID.json")
      ->required();
  add_path(app, "--out", out_, "folder for the runs and the result: new, or of this ablation, which then goes on",
           "DIR")
      ->required();
  add_path(app, "--data", data_, "folder or file of the data set, in place of the grid's", "PATH");
  const auto take = [this](const int64_t& value) {
    usage_require(value >= 1 && value <= kMostProcesses, "--processes: expected 1 to ", kMostProcesses, ", got ",
                  value);
    processes_ = value;
  };
  app.add_option_function<int64_t>(
         "--processes", take,
         "cells at once, each on one CPU thread [the CPUs that affinity mask and cgroup allow]; the result does not "
         "depend on it")
      ->type_name("N");
}

int AblateCommand::run() {
  std::vector<std::string> notes;
  const std::optional<std::string> data = data_ ? std::optional(data_->string()) : std::nullopt;
  const AblationGrid grid = read_grid(*grid_, data, notes);
  print_notes(notes);
  const int64_t processes = processes_ ? *processes_ : duet_context_threads(Device().context());
  const AblationFolder folder(*out_, grid);
  const AblationRun run = run_cells(folder, grid, processes);
  const auto cells = grid.methods.size() * grid.labels.size() * grid.seeds.size();
  if (run.interrupted_by) {
    print_notes({text("interrupted: ", run.maps.size(), " of ", cells, " cells have ended; the same command goes on")});
    return kExitSignal + run.interrupted_by;
  }
  nlohmann::ordered_json facts = {{kFormatKey, kAblationFormat}};
  facts.update(ablation_facts(grid, run.maps));
  write_output(*out_ / kAblationFile, facts.dump(2) + '\n', true);
  write_output(*out_ / kAblationPage, ablation_markdown(grid, run.maps), true);
  std::cout << ablation_table(grid, run.maps) << "written to " << shown_path(*out_) << '\n';
  if (run.failed == 0) return kExitDone;
  throw Error(DUET_STATUS_IO_ERROR,
              text(out_->string(), ": ", run.failed, " of ", cells, " cells failed, first ", run.first_failure));
}

}  // namespace

std::unique_ptr<Command> make_ablate() { return std::make_unique<AblateCommand>(); }

}  // namespace duet
