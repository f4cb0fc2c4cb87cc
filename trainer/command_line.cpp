#include "trainer/command_line.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "kernels/duet.h"
#include "runtime/printable.h"
#include "trainer/completion.h"
#include "trainer/run_directory.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

// An option of `duet train` that stands for a config key.
struct Shorthand {
  const char* option;
  const char* key;
  const char* value_name;
};
constexpr Shorthand kShorthands[] = {{"--data", "data", "PATH"},
                                     {"--modalities", "modalities", "A,B"},
                                     {"--map", "map", "ARRAY/SPLIT=PATH,..."},
                                     {"--method", "method", "METHOD"},
                                     {"--labels", "labels", "SHARE"},
                                     {"--epochs", "epochs", "N"},
                                     {"--seed", "seed", "N"},
                                     {"--threads", "threads", "N"},
                                     {"--steps", "steps", "N"},
                                     {"--log-every", "log_every_steps", "K"},
                                     {"--init", "init", "MODEL"}};

// What the arguments said, in text, until the config's own reader has looked at it.
struct Given {
  std::string config_file;
  std::vector<std::string> shorthands = std::vector<std::string>(std::size(kShorthands));
  std::vector<std::string> assignments;
  std::vector<std::string> sources;
  std::string run, resume, data, out, onnx, hub, gallery, query, threads, seed, epochs, map, pool;
};

std::string version_text() { return std::string("duet ") + duet_version(); }

CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& description) {
  CLI::App* command = program.add_subcommand(name, description);
  command->set_version_flag("--version", version_text());
  return command;
}

// The value that a shorthand's description shows comes from the table, so that the two cannot differ.
std::string describe(const Shorthand& shorthand) {
  const ConfigKey& key = *find_key(shorthand.key);
  std::string words = key.description;
  if (!key.choices.empty()) words += ": " + range_text(key);
  return words + " [" + default_text(key) + "]";
}

CLI::Option* add_text(CLI::App* command, const std::string& option, std::string& target, const std::string& description,
                      const std::string& value_name) {
  return command->add_option(option, target, description)->type_name(value_name);
}

void add_threads(CLI::App* command, Given& given) {
  add_text(command, "--threads", given.threads, "CPU threads; 0: what affinity mask and cgroup allow [0]", "N");
}

void add_device(CLI::App* command, CommandLine& line) {
  command
      ->add_option("--device", line.device.device,
                   "auto, cpu, cuda or emulated; auto: CUDA where there is such a device [\"auto\"]")
      ->type_name("DEVICE");
  command
      ->add_option("--precision", line.device.precision,
                   "of a CUDA device's products: tf32x3, fp32, tf32 or bf16 [\"tf32x3\"]")
      ->type_name("PRECISION");
}

void apply(const CLI::App* command, const char* option, const char* key, const std::string& value, Config& config) {
  if (command->count(option) > 0) set_from_text(config, key, value, option);
}

// A path that was given, and given as something.
std::optional<std::filesystem::path> path_of(const CLI::App* command, const char* option, const std::string& value) {
  if (command->get_option_no_throw(option) == nullptr || command->count(option) == 0) return std::nullopt;
  usage_require(!value.empty(), option, ": expected a path, got nothing");
  return std::filesystem::path(value);
}

// notes: what was given and has no effect, a line each.
Config train_config(const CLI::App* train, const Given& given, std::vector<std::string>& notes) {
  Config config;
  const auto note = [&](const std::vector<std::string>& lines) {
    notes.insert(notes.end(), lines.begin(), lines.end());
  };
  // An empty path is a shell variable that was not set, not a wish for the embedded digits.
  path_of(train, "--data", given.shorthands[0]);
  path_of(train, "--init", given.shorthands[std::size(kShorthands) - 1]);
  std::string file = given.config_file, misfit_of_file;
  if (train->count("--resume") > 0 && train->count("--config") == 0)
    file = (std::filesystem::path(given.resume) / kConfigFile).string();
  std::error_code ignored;
  // Whether there is a run to resume is said by whoever looks for it.
  if (train->count("--config") > 0 || (!file.empty() && std::filesystem::exists(file, ignored))) {
    note(set_from_file(config, file));
    misfit_of_file = misfit(config);
  }
  for (size_t i = 0; i < std::size(kShorthands); ++i)
    apply(train, kShorthands[i].option, kShorthands[i].key, given.shorthands[i], config);
  for (const std::string& assignment : given.assignments) note(set_from_assignment(config, assignment));
  // Keys that do not fit together may come from several places; where the file's own do not, it is named.
  const std::string fault = misfit(config);
  usage_require(fault.empty(), fault == misfit_of_file ? file + ": " : "", fault);
  return config;
}

// "unknown command 'trian' (did you mean 'train'?): expected train, eval ... or demo"
std::string unknown_command(const CLI::App& program, const std::string& word) {
  constexpr size_t kTypos = 2;  // in a word that is taken for another
  std::string all, nearest;
  const std::vector<const CLI::App*> commands = program.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* command : commands) {
    const std::string& name = command->get_name();
    all += (command == commands.front() ? "" : command == commands.back() ? " or " : ", ") + name;
    const size_t typos = edit_distance(shown(word), name);
    if (typos <= kTypos && (nearest.empty() || typos < edit_distance(word, nearest))) nearest = name;
  }
  return text("unknown command '", shown(word), nearest.empty() ? "'" : "' (did you mean '" + nearest + "'?)",
              ": expected ", all);
}

// CLI11's words on one line, an argument of any length in them as other messages show a value.
std::string one_line(std::string words, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i], cut = shown(argument);
    for (size_t at = words.find(argument); argument.size() > kLongestShown && at != std::string::npos;
         at = words.find(argument, at + cut.size()))
      words.replace(at, argument.size(), cut);
  }
  for (char& c : words)
    if (c == '\n') c = ' ';
  return words;
}

}  // namespace

std::optional<CommandLine> parse_command_line(int argc, char** argv) {
  CommandLine line;
  Given given;
  CLI::App program{
      "duet trains a pair of encoders that share one space, by cross-modal triplets and progressive self-distillation.",
      "duet"};
  program.set_version_flag("--version", version_text());
  program.require_subcommand(1);

  CLI::App* train = add_command(program, "train", "Train a pair of encoders");
  add_text(train, "--config", given.config_file, "JSON file of config keys (duet config prints one)", "FILE");
  for (size_t i = 0; i < std::size(kShorthands); ++i)
    add_text(train, kShorthands[i].option, given.shorthands[i], describe(kShorthands[i]), kShorthands[i].value_name);
  add_text(train, "--run", given.run, "run directory to write, new or empty; without it nothing is written", "DIR");
  CLI::Option* const resume =
      add_text(train, "--resume", given.resume,
               "run directory of a run that goes on with the bits of one that was never interrupted; --epochs may be "
               "larger than before",
               "DIR");
  resume->excludes("--run")->excludes("--init");
  train
      ->add_flag("--other-machine", line.other_machine,
                 "resume although version, SIMD target or device are others, which changes bits")
      ->needs(resume);
  train->add_option("--set", given.assignments, "any config keys; may be repeated")->type_name("KEY=VALUE");

  add_device(train, line);
  train->add_flag(
      "--profile", line.profile,
      "time each phase of a step, waiting for it: a table at the end, and profile.json in the run directory");

  CLI::App* eval = add_command(program, "eval", "Measure a trained model on a test split");
  CLI::App* embed = add_command(program, "embed", "Write the embeddings of a split, a .npy a modality");
  for (CLI::App* command : {eval, embed}) {
    add_text(command, "--run", given.run, "run directory of duet train", "DIR")->required();
    add_text(command, "--data", given.data, "folder of the data set; without it the digits embedded in the program",
             "DIR");
    command->add_option("--split", line.split, "train or test [\"test\"]")
        ->type_name("SPLIT")
        ->check(CLI::IsMember({"train", "test"}));
    add_threads(command, given);
    add_device(command, line);
  }
  eval->add_flag("--json", line.json, "print JSON");
  add_text(embed, "--out", given.out, "folder to write to; it is made where it is not there", "DIR")->required();
  embed->add_flag("--force", line.force, "write over files that are there; never over one that this command reads");

  CLI::App* search = add_command(program, "search", "Find the rows of a file that are nearest to those of another");
  add_text(search, "--run", given.run, "run directory of duet train", "DIR")->required();
  add_text(search, "--gallery", given.gallery, "file or folder of arrays: where to search", "PATH")->required();
  add_text(search, "--query", given.query, "file or folder of arrays: what to search for, row by row", "PATH")
      ->required();
  add_text(search, "--from", line.from, "the query's modality", "MODALITY")->required();
  add_text(search, "--to", line.to, "the gallery's modality", "MODALITY")->required();
  search->add_option("--top", line.top, "results a query [10]")->type_name("K")->check(CLI::Range(1, 1 << 30));
  search->add_flag("--json", line.json, "print a JSON object a query and line");
  search->add_flag("--exclude-self", line.exclude_self,
                   "leave out the gallery row of the query's number, as a set searched in itself needs");
  add_threads(search, given);
  add_device(search, line);

  CLI::App* export_model =
      add_command(program, "export", "Write a trained model as others take it: ONNX, a hub's folder");
  add_text(export_model, "--run", given.run, "run directory of duet train", "DIR")->required();
  add_text(export_model, "--onnx", given.onnx, "ONNX file of both encoders, scaling and classifier included", "FILE");
  add_text(export_model, "--hub", given.hub,
           "folder for model.safetensors, config.json and README.md, the model's card", "DIR");
  export_model->add_flag("--force", line.force,
                         "write over files that are there; never over one that this command reads");

  CLI::App* info = add_command(program, "info", "Version and machine facts");
  info->add_flag("--json", line.json, "print JSON");

  CLI::App* demo = add_command(
      program, "demo", "Train triplet, then psd on the embedded digits with 10 % of the labels, and compare them");
  add_threads(demo, given);
  add_device(demo, line);
  add_text(demo, "--seed", given.seed, "seed of every random draw [0]", "N");
  add_text(demo, "--epochs", given.epochs, "passes over the training rows [40]", "N");

  CLI::App* import = add_command(
      program, "import", "Convert files of arrays (npz, safetensors, HDF5, MATLAB, npy) to a folder that train reads");
  import->add_option("SOURCE", given.sources, "files, or folders of them")->required();
  add_text(import, "--out", given.out, "folder to write to; it is made where it is not there", "DIR")->required();
  import->add_flag("--force", line.force, "write over files that are there; never over one that this command reads");
  CLI::App* check = add_command(
      program, "check", "Say what a data set holds: shapes, types, statistics, classes, repeated rows, scaling");
  add_text(check, "PATH", given.data, "folder or file of the data set", "PATH")->required();
  add_text(check, "--pool", given.pool, find_key("pool")->description + (" [" + default_text(*find_key("pool")) + "]"),
           "POOLING");
  for (CLI::App* command : {import, check})
    add_text(command, "--map", given.map, find_key("map")->description, "ARRAY/SPLIT=PATH,...");

  CLI::App* config = add_command(program, "config", "Print a config file with every key, its default and meaning");
  config->add_flag("--schema", line.schema, "print the JSON Schema of a config file");
  config->add_flag("--table", line.table, "print the keys as a Markdown table")->excludes("--schema");

  std::string shell;
  CLI::App* completion =
      add_command(program, "completion", "Print a script that completes commands and options in bash, zsh or fish");
  add_text(completion, "SHELL", shell, "bash, zsh or fish", "SHELL")->required();

  // CLI11 would only say that a command is missing.
  const auto named = [&](const CLI::App* command) { return command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && program.get_subcommands(named).empty())
    throw UsageError(unknown_command(program, argv[1]));
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    program.exit(asked, std::cout, std::cerr);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw UsageError(one_line(error.what(), argc, argv));
  }

  const CLI::App* command = program.get_subcommands().front();
  if (command == completion) {
    std::cout << completion_script(program, shell);
    return std::nullopt;
  }
  line.run = path_of(command, "--run", given.run);
  line.out = path_of(command, "--out", given.out);
  line.onnx = path_of(command, "--onnx", given.onnx);
  line.hub = path_of(command, "--hub", given.hub);
  line.gallery = path_of(command, "--gallery", given.gallery);
  line.query = path_of(command, "--query", given.query);
  if (command == export_model) usage_require(line.onnx || line.hub, "export: expected --onnx FILE, --hub DIR or both");
  if (command == train) {
    line.command = CommandLine::Command::train;
    if (const auto resumed = path_of(train, "--resume", given.resume)) {
      line.resume = true;
      line.run = resumed;
    }
    line.config = train_config(train, given, line.notes);
    return line;
  }
  line.command = command == eval           ? CommandLine::Command::eval
                 : command == embed        ? CommandLine::Command::embed
                 : command == search       ? CommandLine::Command::search
                 : command == export_model ? CommandLine::Command::export_model
                 : command == import       ? CommandLine::Command::import
                 : command == check        ? CommandLine::Command::check
                 : command == config       ? CommandLine::Command::config
                 : command == demo         ? CommandLine::Command::demo
                                           : CommandLine::Command::info;
  if (command == eval || command == embed) line.data = path_of(command, "--data", given.data);
  if (command == import || command == check) {
    apply(command, "--map", "map", given.map, line.config);
    if (command == check) apply(command, "--pool", "pool", given.pool, line.config);
    for (const std::string& source : given.sources) {
      usage_require(!source.empty(), "SOURCE: expected a path, got nothing");
      line.sources.emplace_back(source);
    }
    if (command == check) line.data = path_of(command, "PATH", given.data);
    return line;
  }
  if (command != info && command != config && command != export_model)
    apply(command, "--threads", "threads", given.threads, line.config);
  if (command == demo) {
    apply(demo, "--seed", "seed", given.seed, line.config);
    apply(demo, "--epochs", "epochs", given.epochs, line.config);
  }
  return line;
}

}  // namespace duet
