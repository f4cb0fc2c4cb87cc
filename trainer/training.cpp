#include "trainer/training.h"

#include <nlohmann/json.hpp>

#include "trainer/commands/options.h"
#include "trainer/initial_weights.h"
#include "trainer/report/run_report.h"
#include "trainer/resume.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

std::string describe(const Preparation& preparation) {
  const data::Dataset& dataset = preparation.dataset;
  const int64_t validates = dataset.validation.rows();
  return text(
      dataset.name, ": ", dataset.train.rows(), " training pairs (", preparation.labelled(), " labelled), ",
      validates > 0 ? text(validates, " validation pairs (", dataset.validation.labelled(), " labelled), ") : "",
      dataset.test.rows(), " test pairs, ", dataset.classes, " classes",
      dataset.several_labels() ? ", several a row" : "", "; ", dataset.modalities[0], " ", dataset.width(0), ", ",
      dataset.modalities[1], " ", dataset.width(1));
}

std::string device_words(const ChosenDevice& chosen, const Device& device) {
  if (device.options().kind == DUET_DEVICE_CUDA) return text(chosen.name, ", ", chosen.precision);
  const int threads = duet_context_threads(device.context());
  return text(threads, threads == 1 ? " thread" : " threads",
              chosen.reason.empty() ? "" : "; on the CPU: " + chosen.reason);
}

// A run that goes on: its directory, locked, and where it stood.
struct Resumed {
  explicit Resumed(const fs::path& path) : directory(path, RunDirectory::Mode::resumed) {
    std::vector<std::string> notes;
    std::optional<Checkpoint> found = directory.checkpoints().newest(notes);
    usage_require(found.has_value(), path.string(),
                  ": no run to resume: it has no checkpoint (--init starts a new run from its model)");
    checkpoint.emplace(std::move(*found));
    print_notes(notes);
  }
  RunDirectory directory;
  std::optional<Checkpoint> checkpoint;
  std::vector<std::string> changes;
};

// A folder on the disk of a run's, which may not be there yet; empty for a run without one.
fs::path folder_beside(const std::optional<fs::path>& run) {
  if (!run) return {};
  std::error_code ignored;
  fs::path folder = fs::absolute(*run, ignored);
  while (!fs::is_directory(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

// Notes of what the run is made of; of a new run its directory is begun with them.
void announce(const TrainingOrder& order, const Preparation& preparation, const std::string& device_facts) {
  if (order.announce) {
    print_notes({text(describe(preparation), "; ", device_facts)});
    if (!order.directory) print_notes({"no --run: nothing is written, the report is all that stays"});
  }
  print_notes(residence_notes(preparation));
  print_notes(scaling_notes(preparation.description));
  const data::Dataset& dataset = preparation.dataset;
  print_notes(label_notes(preparation.description, dataset.test, "test"));
  print_notes(label_notes(preparation.description, dataset.validation, "validation"));
  if (dataset.validation.rows() > 0 && dataset.validation.labelled() == 0)
    print_notes({"validation: no row has a label that the run may see, so it has no MAP: the last model is the best"});
  print_notes(class_notes(preparation.description));
  if (preparation.evidence) print_notes({evidence_note(*preparation.evidence, preparation.description.modalities)});
}

void go_on(Resumed& resumed, const Config& config, const RunRecord& record) {
  Checkpoint& checkpoint = *resumed.checkpoint;
  const std::string note = resumed.directory.go_on(config, record.facts.machine, checkpoint.loop.metrics_bytes),
                    lost = resumed.directory.best_model().restore(checkpoint.loop.best);
  for (const std::string& line : {note, lost})
    if (!line.empty()) print_notes({line});
  print_notes({text("resumed after step ", checkpoint.training.steps)});
  print_notes(resumed.changes);
  if (!resumed.changes.empty()) resumed.directory.add_metrics(resumed_line(checkpoint, resumed.changes));
}

}  // namespace

Training run_training(TrainingOrder order) {
  std::optional<Resumed> resumed;
  if (order.resume) {
    resumed.emplace(*order.directory);
    resumed->changes = require_same_config(*resumed->checkpoint, order.config);
  }
  const ChosenDevice chosen = choose_device(order.device, order.config.threads);
  Device device(chosen.options);
  RunRecord record;
  record.facts.machine = machine_facts(chosen, device);
  if (resumed) {
    const std::vector<std::string> others =
        require_same_machine(*resumed->checkpoint, record.facts.machine, order.other_machine);
    resumed->changes.insert(resumed->changes.end(), others.begin(), others.end());
  }
  Preparation preparation = prepare(order.config, folder_beside(order.directory));
  validate(preparation.description.config);  // the names of modalities, which may come from the folder
  if (order.directory) record.facts.data = data_facts(preparation);
  if (resumed) require_same_data(*resumed->checkpoint, record.facts.data, preparation.description);
  const InterruptGuard interrupt;  // from here on there may be files
  std::optional<RunDirectory> created;
  if (order.directory && !resumed) created.emplace(*order.directory);
  record.directory = resumed ? &resumed->directory : created ? &*created : nullptr;
  record.resumed = resumed ? &*resumed->checkpoint : nullptr;
  Model model(preparation.description, device.context());
  announce(order, preparation, device_words(chosen, device));
  if (resumed) {
    go_on(*resumed, preparation.description.config, record);
  } else {
    if (!order.config.init.empty()) print_notes(take_initial_weights(model, device.context()));
    nlohmann::ordered_json evidence;
    if (preparation.evidence) evidence = evidence_facts(*preparation.evidence, preparation.description.modalities);
    if (created) {
      created->write_start(record.facts.machine, evidence);
      report::record_alignment(created->path(), device.context(), model, preparation);
    }
  }
  Progress progress;
  const auto write_report = [&](const std::optional<Evaluation>& evaluation, const std::string& note) {
    if (!record.directory) return;
    const std::string warning = report::write_report(record.directory->path(), device.context(), model, preparation,
                                                     evaluation, note, [&] { interrupt.check(); });
    if (!warning.empty()) print_notes({warning});
  };
  Training run;
  run.modalities = preparation.description.modalities;
  try {
    run.result = train(device, model, preparation, record, progress, interrupt, order.times);
  } catch (const NotFinite& error) {
    write_report({}, error.what());
    throw;
  }
  if (run.result.ran_out_of_patience && !run.result.interrupted_by)
    print_notes(
        {text("ended after step ", run.result.steps, ": ", run.result.best.evaluations_since,
              " evaluations without a better MAP of the validation split than after epoch ", run.result.best.epoch)});
  if (run.result.interrupted_by)
    write_report({}, text("Interrupted after step ", run.result.steps,
                          ": the test split was not measured. duet report measures it."));
  else
    write_report(run.result.evaluation, "");
  if (order.times && record.directory) record.directory->write_profile(order.times->to_json());
  return run;
}

}  // namespace duet
