// `duet report`: writes report.html into the folder of a run that is there.
#include <iostream>

#include "trainer/checkpoint.h"
#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/evaluate.h"
#include "trainer/output_files.h"
#include "trainer/preparation.h"
#include "trainer/report/run_report.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

class ReportCommand final : public Command {
 public:
  void declare(CLI::App& app) override {
    add_run(app, run_);
    add_path(app, "--data", data_, "folder or file of the data set; without it the one that the run was trained on",
             "PATH");
    place_.declare(app);
  }
  int run() override;

 private:
  std::optional<fs::path> run_, data_;
  Workplace place_;
};

// The model of the newest checkpoint, student and moving average; null where there is none that can be read.
std::unique_ptr<Model> trained_model(const fs::path& run, duet_context* context) {
  std::vector<std::string> notes;
  std::optional<Checkpoint> checkpoint;
  try {
    checkpoint = CheckpointFolder(run).newest(notes);
  } catch (const UsageError& error) {  // all are damaged, or one is of a newer program
    notes.emplace_back(error.what());
  }
  print_notes(notes);
  if (!checkpoint) return nullptr;
  std::unique_ptr<Model> model = Model::load(checkpoint->path, context);
  checkpoint->restore(model->parameters());
  return model;
}

int ReportCommand::run() {
  const Device device(place_.choose().options);
  duet_context* const context = device.context();
  const std::unique_ptr<Model> model = load_model(*run_, false, context);
  const std::unique_ptr<Model> trained = trained_model(*run_, context);
  const ModelDescription& description = model->description();
  const fs::path data = data_for(data_, *model);
  const TrainingRows train = load_training_rows(*model, data);
  const data::Split test = load_for(*model, data, "test");
  const std::string name = data.empty() ? "digits (built in)" : data.string();
  const std::string page = report::run_page(
      {.run = *run_,
       .context = context,
       .model = model.get(),
       .trained = trained.get(),
       .train = &train.split,
       .test = &test,
       .facts = report::facts_of(name, description, train.split, test,
                                 std::ranges::count_if(train.labels, [](int32_t label) { return label >= 0; })),
       .called = {test.label_values, test.label_names},
       .evaluation = evaluate(context, *model, test),
       .note = "",
       .between = {},
       .is_built_in = data.empty()});
  const fs::path file = *run_ / kReportFile;
  write_output(file, page, true);
  std::cout << shown_path(file) << ": " << page.size() << " bytes\n";
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_report() { return std::make_unique<ReportCommand>(); }

}  // namespace duet
