#include "trainer/commands.h"

#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/npy.h"
#include "trainer/command_line.h"
#include "trainer/context.h"
#include "trainer/evaluate.h"
#include "trainer/loop.h"
#include "trainer/report.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

std::string describe(const Preparation& preparation) {
  const data::Dataset& dataset = preparation.dataset;
  return text(dataset.name, ": ", dataset.train.rows(), " training pairs (", preparation.labelled(), " labelled), ", dataset.test.rows(),
              " test pairs, ", dataset.classes, " classes; ", dataset.modalities[0], " ", dataset.width(0), ", ", dataset.modalities[1], " ",
              dataset.width(1));
}

struct Run {
  TrainingResult result;
  std::array<std::string, data::kModalities> modalities;
};

Run run_training(const Config& config, const std::optional<fs::path>& directory, bool announce) {
  const Context context = make_context(config.threads);
  const int threads = duet_context_threads(context.get());
  Preparation preparation = prepare(config);
  std::optional<RunDirectory> run_directory;
  if (directory) run_directory.emplace(*directory);
  Model model(preparation.description, context.get());
  if (announce) {
    std::cerr << describe(preparation) << "; " << threads << (threads == 1 ? " thread\n" : " threads\n");
    if (!directory) std::cerr << "no --run: nothing is written, the report is all that stays\n";
  }
  if (run_directory) run_directory->write_start(preparation.description.config, machine_facts(threads));
  Progress progress;
  const InterruptGuard interrupt;
  return {train(context.get(), model, preparation, run_directory ? &*run_directory : nullptr, progress, interrupt),
          preparation.description.modalities};
}

int train_command(const CommandLine& line) {
  const Run run = run_training(line.config, line.run, true);
  if (run.result.interrupted) {
    std::cerr << "interrupted after step " << run.result.steps << ": "
              << (line.run ? "the model is in " + (*line.run / kModelFile).string() : "without --run nothing is kept") << '\n';
    return kExitInterrupted;
  }
  std::cout << report_table({{line.config.method, run.result.evaluation, run.result.seconds}}, run.modalities[0], run.modalities[1]);
  if (line.run) std::cout << "written to " << line.run->string() << '\n';
  return kExitDone;
}

int demo_command(const CommandLine& line) {
  std::vector<ReportRow> rows;
  std::array<std::string, data::kModalities> modalities;
  for (const char* method : {"triplet", "psd"}) {
    Config config = line.config;
    config.method = method;
    config.labels = 0.1;
    const Run run = run_training(config, std::nullopt, false);
    if (run.result.interrupted) {
      std::cerr << "interrupted\n";
      return kExitInterrupted;
    }
    rows.push_back({method, run.result.evaluation, run.result.seconds});
    modalities = run.modalities;
  }
  std::cout << report_table(rows, modalities[0], modalities[1]);
  return kExitDone;
}

std::unique_ptr<Model> load_model(const CommandLine& line, duet_context* context) {
  const fs::path path = *line.run / kModelFile;
  usage_require(fs::exists(path), path.string(), ": no such file; --run takes the run directory of duet train");
  return Model::load(path, context);
}

int eval_command(const CommandLine& line) {
  const Context context = make_context(line.config.threads);
  const std::unique_ptr<Model> model = load_model(line, context.get());
  const Evaluation evaluation = evaluate(context.get(), *model, load_for(*model, line.data.value_or(fs::path()), line.split));
  if (line.json) {
    std::cout << to_json(evaluation).dump(2) << '\n';
  } else {
    const auto& [a, v] = model->description().modalities;
    std::cout << evaluation_table(evaluation, a, v);
    if (evaluation.a_to_v.queries == 0) std::cerr << "no query with a label and a relevant item: measures by label are left out\n";
  }
  return kExitDone;
}

int embed_command(const CommandLine& line) {
  const Context context = make_context(line.config.threads);
  const std::unique_ptr<Model> model = load_model(line, context.get());
  const data::Split split = load_for(*model, line.data.value_or(fs::path()), line.split);
  std::error_code error;
  fs::create_directories(*line.out, error);
  usage_require(!error && fs::is_directory(*line.out), line.out->string(), ": cannot make the output folder", error ? ": " + error.message() : "");
  for (int side = 0; side < data::kModalities; ++side) {
    const fs::path path = *line.out / (model->description().modalities[static_cast<size_t>(side)] + ".npy");
    const data::Features embeddings =
        model->embed(context.get(), side, split.features[static_cast<size_t>(side)], model->description().config.evaluation_block_rows);
    reading_input([&] { data::write_features(path, embeddings); });
    std::cout << path.string() << ": " << embeddings.rows << " x " << embeddings.columns << '\n';
  }
  return kExitDone;
}

int info_command(const CommandLine& line) {
  if (line.keys) {
    std::cout << keys_table();
    return kExitDone;
  }
  const Context context = make_context(0);
  const nlohmann::ordered_json facts = machine_facts(duet_context_threads(context.get()));
  if (line.json) {
    std::cout << facts.dump(2) << '\n';
  } else {
    for (const auto& [name, value] : facts.items())
      std::cout << name << ": " << (value.is_string() ? value.get<std::string>() : value.dump()) << '\n';
  }
  return kExitDone;
}

int dispatch_command(const CommandLine& line) {
  switch (line.command) {
    case CommandLine::Command::train: return train_command(line);
    case CommandLine::Command::eval: return eval_command(line);
    case CommandLine::Command::embed: return embed_command(line);
    case CommandLine::Command::demo: return demo_command(line);
    case CommandLine::Command::info: return info_command(line);
  }
  return kExitFailure;
}

int report_error(const std::string& message, ExitCode code) {
  std::cerr << "duet: " << message << '\n';
  return code;
}

}  // namespace

int run_program(int argc, char** argv) {
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
