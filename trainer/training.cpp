#include "trainer/training.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "trainer/commands/options.h"
#include "trainer/initial_weights.h"
#include "trainer/rank_agreement.h"
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

// A run that goes on: its directory, locked, and where it stood. A rank that writes nothing reads the checkpoint alone.
struct Resumed {
  Resumed(const fs::path& path, bool writes) {
    std::vector<std::string> notes;
    if (writes) directory.emplace(path, RunDirectory::Mode::resumed);
    CheckpointFolder folder(path);
    std::optional<Checkpoint> found = (writes ? directory->checkpoints() : folder).newest(notes);
    usage_require(found.has_value(), path.string(),
                  ": no run to resume: it has no checkpoint (--init starts a new run from its model)");
    checkpoint.emplace(std::move(*found));
    print_notes(notes);
  }
  std::optional<RunDirectory> directory;
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
  if (resumed.directory) {
    const std::string note = resumed.directory->go_on(config, record.facts.machine, checkpoint.loop.metrics_bytes),
                      lost = resumed.directory->best_model().restore(checkpoint.loop.best);
    for (const std::string& line : {note, lost})
      if (!line.empty()) print_notes({line});
  }
  print_notes({text("resumed after step ", checkpoint.training.steps)});
  print_notes(resumed.changes);
  if (resumed.directory && !resumed.changes.empty())
    resumed.directory->add_metrics(resumed_line(checkpoint, resumed.changes));
}

// All that a run has before its first step. It stays where it is: its parts point at each other.
class TrainingSetup {
 public:
  explicit TrainingSetup(TrainingOrder& order) : order_(order) {}
  TrainingSetup(const TrainingSetup&) = delete;
  TrainingSetup& operator=(const TrainingSetup&) = delete;

  void make() {
    Ranks* const ranks = order_.ranks;
    together(ranks, [&] { read(); });
    if (ranks) require_alike(*ranks, facts());
    together(ranks, [&] { begin(); });
    together(ranks, [&] { find_best(); });
  }

  TrainingResult train(Progress& progress) {
    return duet::train(*device, *model, *preparation, record, progress, *interrupt, order_.times);
  }

  std::optional<Device> device;
  std::optional<Preparation> preparation;
  std::optional<InterruptGuard> interrupt;
  std::optional<Model> model;
  RunRecord record;

 private:
  bool writes() const { return !order_.ranks || order_.ranks->rank() == 0; }

  // What is there already; nothing is written.
  void read() {
    if (order_.resume) {
      resumed_.emplace(*order_.directory, writes());
      resumed_->changes = require_same_config(*resumed_->checkpoint, order_.config);
    }
    const int64_t threads = order_.config.threads > 0 ? order_.config.threads : order_.default_threads;
    chosen_ = choose_device(order_.device, threads);
    usage_require(!order_.ranks || chosen_.options.kind == DUET_DEVICE_CPU,
                  "--device: several ranks train on the CPU alone");
    device.emplace(chosen_.options);
    record.facts.machine = machine_facts(chosen_, *device);
    if (resumed_) {
      const std::vector<std::string> others =
          require_same_machine(*resumed_->checkpoint, record.facts.machine, order_.other_machine);
      resumed_->changes.insert(resumed_->changes.end(), others.begin(), others.end());
    }
    preparation.emplace(prepare(order_.config, folder_beside(order_.directory)));
    validate(preparation->description.config);  // the names of modalities, which may come from the folder
    if (order_.directory || order_.ranks) record.facts.data = data_facts(*preparation);
    if (resumed_) require_same_data(*resumed_->checkpoint, record.facts.data, preparation->description);
  }

  // What ranks must have in common, so that they train one model: all of the config but where things are, how much of
  // the machine is used, and what rank 0 writes.
  nlohmann::ordered_json facts() const {
    static const std::set<std::string> kOwn = {"data",
                                               "map",
                                               "init",
                                               "threads",
                                               "data_memory",
                                               "log_every_steps",
                                               "tensorboard",
                                               "checkpoint_every_epochs",
                                               "checkpoint_every_steps",
                                               "checkpoints_kept"};
    nlohmann::ordered_json out;
    for (const char* fact : {"version", "simd_target"}) out[fact] = record.facts.machine.at(fact);
    const nlohmann::ordered_json config = to_json(preparation->description.config);
    for (const auto& [key, value] : config.items())
      if (!kOwn.contains(key)) out[key] = value;
    for (const auto& [part, checksum] : record.facts.data.items()) out["data: " + part] = checksum;
    out["resumed after step"] = resumed_ ? resumed_->checkpoint->training.steps : -1;
    return out;
  }

  void begin() {
    interrupt.emplace();  // from here on there may be files
    if (order_.directory && !resumed_ && writes()) created_.emplace(*order_.directory);
    record.directory = created_ ? &*created_ : resumed_ && resumed_->directory ? &*resumed_->directory : nullptr;
    record.resumed = resumed_ ? &*resumed_->checkpoint : nullptr;
    if (order_.directory) record.best_model = *order_.directory / kBestFile;
    record.ranks = order_.ranks;
    model.emplace(preparation->description, device->context());
    announce(order_, *preparation, device_words(chosen_, *device));
    if (resumed_) return go_on(*resumed_, preparation->description.config, record);
    if (!order_.config.init.empty()) print_notes(take_initial_weights(*model, device->context()));
    nlohmann::ordered_json evidence;
    if (preparation->evidence) evidence = evidence_facts(*preparation->evidence, preparation->description.modalities);
    if (!created_) return;
    created_->write_start(record.facts.machine, evidence);
    report::record_alignment(created_->path(), device->context(), *model, *preparation);
  }

  // Rank 0 has restored the best model of a resumed run, where it is not lost.
  void find_best() {
    if (!resumed_ || writes()) return;
    BestModel& best = resumed_->checkpoint->loop.best;
    if (!BestModelFiles(*order_.directory, {}).is_whole(best)) best = {};
  }

  TrainingOrder& order_;
  std::optional<Resumed> resumed_;
  ChosenDevice chosen_;
  std::optional<RunDirectory> created_;
};

}  // namespace

Training run_training(TrainingOrder order) {
  TrainingSetup setup(order);
  setup.make();
  const RunRecord& record = setup.record;
  Progress progress;
  const auto write_report = [&](const std::optional<Evaluation>& evaluation, const std::string& note) {
    if (!record.directory) return;
    const std::string warning =
        report::write_report(record.directory->path(), setup.device->context(), *setup.model, *setup.preparation,
                             evaluation, note, [&] { setup.interrupt->check(); });
    if (!warning.empty()) print_notes({warning});
  };
  Training run;
  run.modalities = setup.preparation->description.modalities;
  try {
    run.result = setup.train(progress);
    order.ranks_done();
  } catch (const NotFinite& error) {
    order.ranks_done();
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
