#include "trainer/commands.h"

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/array_file.h"
#include "data/npy.h"
#include "runtime/files/atomic_file.h"
#include "runtime/printable.h"
#include "trainer/command_line.h"
#include "trainer/config_text.h"
#include "trainer/data_commands.h"
#include "trainer/evaluate.h"
#include "trainer/export.h"
#include "trainer/initial_weights.h"
#include "trainer/input_files.h"
#include "trainer/loop.h"
#include "trainer/output_files.h"
#include "trainer/report.h"
#include "trainer/resume.h"
#include "trainer/search.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

std::string describe(const Preparation& preparation) {
  const data::Dataset& dataset = preparation.dataset;
  return text(dataset.name, ": ", dataset.train.rows(), " training pairs (", preparation.labelled(), " labelled), ",
              dataset.test.rows(), " test pairs, ", dataset.classes, " classes; ", dataset.modalities[0], " ",
              dataset.width(0), ", ", dataset.modalities[1], " ", dataset.width(1));
}

// Lines of ours may hold a path or a name in a file, which may hold anything.
void print_notes(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::cerr << printable(line) << '\n';
}

std::string shown_path(const fs::path& path) { return printable(path.string()); }

std::string device_words(const ChosenDevice& chosen, const Device& device) {
  if (device.options().kind == DUET_DEVICE_CUDA) return text(chosen.name, ", ", chosen.precision);
  const int threads = duet_context_threads(device.context());
  return text(threads, threads == 1 ? " thread" : " threads",
              chosen.reason.empty() ? "" : "; on the CPU: " + chosen.reason);
}

struct Run {
  TrainingResult result;
  std::array<std::string, data::kModalities> modalities;
};

struct Order {
  Config config;
  DeviceChoice device;
  std::optional<fs::path> directory;
  bool announce = true;
  bool resume = false, other_machine = false;  // of CommandLine
  PhaseTimes* times = nullptr;                 // null: no phase is timed
};

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

// Notes of what the run is made of; of a new run its directory is begun with them.
void announce(const Order& order, const Preparation& preparation, const std::string& device_facts) {
  if (order.announce) {
    print_notes({text(describe(preparation), "; ", device_facts)});
    if (!order.directory) print_notes({"no --run: nothing is written, the report is all that stays"});
  }
  print_notes(scaling_notes(preparation.description));
  print_notes(label_notes(preparation.description, preparation.dataset.test, "test"));
  print_notes(class_notes(preparation.description));
  if (preparation.evidence) print_notes({evidence_note(*preparation.evidence, preparation.description.modalities)});
}

void go_on(Resumed& resumed, const Config& config, const RunRecord& record) {
  const Checkpoint& checkpoint = *resumed.checkpoint;
  const std::string note = resumed.directory.go_on(config, record.facts.machine, checkpoint.loop.metrics_bytes);
  if (!note.empty()) print_notes({note});
  print_notes({text("resumed after step ", checkpoint.training.steps)});
  print_notes(resumed.changes);
  if (!resumed.changes.empty()) resumed.directory.add_metrics(resumed_line(checkpoint, resumed.changes));
}

Run run_training(Order order) {
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
  Preparation preparation = prepare(order.config);
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
    if (created) created->write_start(record.facts.machine, evidence);
  }
  Progress progress;
  Run run{train(device, model, preparation, record, progress, interrupt, order.times),
          preparation.description.modalities};
  if (order.times && record.directory) record.directory->write_profile(order.times->to_json());
  return run;
}

int train_command(const CommandLine& line) {
  PhaseTimes times;
  const Run run = run_training(
      {line.config, line.device, line.run, true, line.resume, line.other_machine, line.profile ? &times : nullptr});
  if (run.result.interrupted_by) {
    print_notes(
        {text("interrupted after step ", run.result.steps, ": ",
              line.run ? "duet train --resume " + line.run->string() + " goes on" : "without --run nothing is kept")});
    return kExitSignal + run.result.interrupted_by;
  }
  std::cout << report_table({{line.config.method, run.result.evaluation, run.result.seconds}}, run.modalities[0],
                            run.modalities[1]);
  std::cerr << coincidence_warning(run.result.evaluation, run.modalities[0], run.modalities[1]);
  if (line.profile) std::cout << times.table();
  if (line.run) std::cout << "written to " << shown_path(*line.run) << '\n';
  return kExitDone;
}

int demo_command(const CommandLine& line) {
  std::vector<ReportRow> rows;
  std::array<std::string, data::kModalities> modalities;
  for (const char* method : {"triplet", "psd"}) {
    Config config = line.config;
    config.method = method;
    config.labels = 0.1;
    const Run run = run_training({.config = config, .device = line.device, .announce = false});
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

void print_device(const ChosenDevice& chosen) {
  if (chosen.options.kind == DUET_DEVICE_CUDA)
    print_notes({text("on ", chosen.name, ", ", chosen.precision)});
  else if (!chosen.reason.empty() && chosen.has_cuda)
    print_notes({"on the CPU: " + chosen.reason});
}

std::unique_ptr<Model> load_model(const CommandLine& line, duet_context* context) {
  const fs::path path = *line.run / kModelFile;
  std::error_code refused;
  const bool there = fs::exists(path, refused);
  usage_require(there, path.string(), ": ", refused ? refused.message() : "no such file",
                "; --run takes the run directory of duet train");
  return Model::load(path, context);
}

namespace {

int eval_command(const CommandLine& line) {
  const ChosenDevice chosen = choose_device(line.device, line.config.threads);
  print_device(chosen);
  const Device device(chosen.options);
  const std::unique_ptr<Model> model = load_model(line, device.context());
  const data::Split split = load_for(*model, line.data.value_or(fs::path()), line.split);
  if (!line.json) print_notes(scaling_notes(model->description()));
  print_notes(label_notes(model->description(), split, line.split));
  const Evaluation evaluation = evaluate(device.context(), *model, split);
  const auto& [a, v] = model->description().modalities;
  std::cerr << coincidence_warning(evaluation, a, v);
  if (line.json) {
    std::cout << to_json(evaluation).dump(2) << '\n';
  } else {
    std::cout << evaluation_table(evaluation, a, v);
    if (evaluation.a_to_v.queries == 0)
      std::cerr << "no query with a label and a relevant item: measures by label are left out\n";
  }
  return kExitDone;
}

// The files that embed writes, one each of these modalities of the model: none is a file that it reads, and one that is
// there is written over where --force says so.
std::vector<fs::path> embedding_files(const CommandLine& line, const Model& model, const std::vector<size_t>& sides) {
  InputFiles inputs;
  inputs.add(*line.run);
  if (line.data) inputs.add(*line.data);
  std::vector<fs::path> files;
  for (const size_t side : sides) {
    const fs::path& file = files.emplace_back(*line.out / (model.description().modalities[side] + ".npy"));
    require_free(inputs, file, line.force);
  }
  return files;
}

// All or none: none appears before all are on the disk. Where files are replaced, a system that refuses the second
// name leaves the first: what it replaced is gone.
class EmbeddingFiles {
 public:
  EmbeddingFiles(const std::vector<fs::path>& paths, bool replaces)
      : paths_(paths), replaces_(replaces), files_(paths.size()) {
    for (size_t side = 0; side < files_.size(); ++side) make(side);
  }

  void write(const std::vector<data::Features>& embeddings) {
    for (size_t side = 0; side < files_.size(); ++side) {
      const std::string header = data::features_header(embeddings[side]);
      files_[side]->write(header.data(), header.size());
      files_[side]->write(embeddings[side].values.data(), embeddings[side].values.size() * sizeof(float));
      files_[side]->sync();
    }
  }

  void commit() {
    try {
      for (size_t side = 0; side < files_.size(); ++side) {
        if (replaces_)
          files_[side]->commit();
        else if (!files_[side]->commit_new())
          refuse_existing(paths_[side]);
      }
    } catch (...) {
      std::error_code ignored;
      for (size_t side = 0; side < files_.size() && !replaces_; ++side)
        if (files_[side]->placed()) fs::remove(paths_[side], ignored);  // it is ours
      throw;
    }
  }

 private:
  void make(size_t side) {
    try {
      files_[side].emplace(paths_[side]);
    } catch (const FileError& error) {
      refuse_output(error.what(), error.reason());
    }
  }

  std::vector<fs::path> paths_;
  bool replaces_;
  std::vector<std::optional<AtomicFile>> files_;
};

int embed_command(const CommandLine& line) {
  const ChosenDevice chosen = choose_device(line.device, line.config.threads);
  print_device(chosen);
  const Device device(chosen.options);
  const std::unique_ptr<Model> model = load_model(line, device.context());
  const data::Split split = load_for(*model, line.data.value_or(fs::path()), line.split, data::SplitUse::features);
  std::vector<size_t> sides;
  for (size_t side = 0; side < split.features.size(); ++side)
    if (split.features[side].rows > 0) sides.push_back(side);
  const std::vector<fs::path> paths = embedding_files(line, *model, sides);
  const std::vector<std::string> notes = scaling_notes(model->description());
  std::vector<data::Features> embeddings;
  for (const size_t side : sides) {
    print_notes({notes[side]});
    embeddings.push_back(model->embed(device.context(), static_cast<int>(side), split.features[side],
                                      model->description().config.evaluation_block_rows));
  }
  const InterruptGuard interrupt;  // from here on there are files
  make_output_folder(*line.out);
  EmbeddingFiles files(paths, line.force);
  files.write(embeddings);
  if (const int number = interrupt.requested()) {
    std::cerr << "interrupted: nothing is written\n";
    return kExitSignal + number;
  }
  files.commit();
  for (size_t side = 0; side < paths.size(); ++side)
    std::cout << shown_path(paths[side]) << ": " << embeddings[side].rows << " x " << embeddings[side].columns << '\n';
  return kExitDone;
}

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

int config_command(const CommandLine& line) {
  if (line.schema)
    std::cout << config_schema().dump(2) << '\n';
  else
    std::cout << (line.table ? keys_table() : commented_config());
  return kExitDone;
}

int info_command(const CommandLine& line) {
  nlohmann::ordered_json facts = program_facts();
  facts["reads"] = data::formats_text();
  facts["devices"] = device_facts();
  if (line.json) {
    std::cout << facts.dump(2) << '\n';
  } else {
    for (const auto& [name, value] : facts.items())
      if (name != "devices") std::cout << name << ": " << value.get<std::string>() << '\n';
    for (const nlohmann::ordered_json& device : facts["devices"]) std::cout << device_line(device) << '\n';
  }
  return kExitDone;
}

int dispatch_command(const CommandLine& line) {
  print_notes(line.notes);
  switch (line.command) {
    case CommandLine::Command::train: return train_command(line);
    case CommandLine::Command::eval: return eval_command(line);
    case CommandLine::Command::embed: return embed_command(line);
    case CommandLine::Command::search: return search_command(line);
    case CommandLine::Command::export_model: return export_command(line);
    case CommandLine::Command::demo: return demo_command(line);
    case CommandLine::Command::config: return config_command(line);
    case CommandLine::Command::info: return info_command(line);
    case CommandLine::Command::import: return import_command(line);
    case CommandLine::Command::check: return check_command(line);
  }
  return kExitFailure;
}

int report_error(const std::string& message, ExitCode code) {
  std::cerr << "duet: " << printable(message) << '\n';  // it may hold a file's name, which may hold anything
  return code;
}

}  // namespace

int run_program(int argc, char** argv) {
  // A limit on the size of files then makes write() fail, which is reported, instead of ending the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const std::optional<CommandLine> line = parse_command_line(argc, argv);
    const int code = line ? dispatch_command(*line) : kExitDone;
    std::cout.flush();
    return std::cout ? code : report_error("standard output cannot be written", kExitFailure);
  } catch (const UsageError& error) {
    return report_error(error.what(), kExitUsage);
  } catch (const std::bad_alloc&) {
    return report_error("out of memory", kExitFailure);
  } catch (const std::exception& error) {
    return report_error(error.what(), kExitFailure);
  }
}

}  // namespace duet
