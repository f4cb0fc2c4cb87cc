// `duet compare`: several runs side by side, as a table and, where it is asked for, as a page.
#include "trainer/report/compare.h"

#include <iostream>

#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/output_files.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

class CompareCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("RUN", runs_, "run directories of duet train")->required();
    add_path(app, "--html", html_, "page to write: the table, and the runs' curves over each other", "FILE");
    add_force(app, force_);
  }
  int run() override;

 private:
  std::vector<std::string> runs_;
  std::optional<fs::path> html_;
  bool force_ = false;
};

int CompareCommand::run() {
  InputFiles inputs;
  const std::vector<fs::path> folders(runs_.begin(), runs_.end());
  for (const fs::path& folder : folders) inputs.add(folder);
  const std::vector<report::ComparedRun> runs = report::read_runs(folders);
  if (html_) {
    require_free(inputs, *html_, force_);
    write_output(*html_, report::comparison_page(runs), force_);
  }
  std::cout << report::comparison_text(runs);
  if (html_) std::cerr << "written to " << shown_path(*html_) << '\n';
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_compare() { return std::make_unique<CompareCommand>(); }

}  // namespace duet
