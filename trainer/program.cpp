#include "trainer/program.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <vector>

#include "kernels/duet.h"
#include "runtime/files/available_memory.h"
#include "runtime/files/reading_limit.h"
#include "runtime/printable.h"
#include "trainer/commands/command.h"
#include "trainer/config.h"
#include "trainer/launched_ranks.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

// The table of commands, in the order of --help. examples: lines that a user may type.
struct CommandEntry {
  const char* name;
  const char* summary;
  MakeCommand make;
  std::vector<std::string> examples;
};
const std::vector<CommandEntry>& command_table() {
  static const std::vector<CommandEntry> table = {
      {"train",
       "Train a pair of encoders",
       make_train,
       {"duet train --data my-data --labels 0.1 --run my-run", "duet train --resume my-run --epochs 80",
        "duet train --data vegas.h5 --set pair_loss=multi_positive learning_rate=3e-4"}},
      {"eval",
       "Measure a trained model on a split, or on queries and a gallery",
       make_eval,
       {"duet eval --run my-run --data my-data", "duet eval --run my-run --data my-data --from audio --to audio --json",
        "duet eval --run my-run --query new/test --from audio --gallery old/test --to visual --per-class"}},
      {"baseline",
       "Measure a linear baseline on the test split: CCA or cluster-CCA",
       make_baseline,
       {"duet baseline --data my-data --method cluster_cca --labels 0.1"}},
      {"ablate",
       "Train and measure methods x label shares x seeds, and test their differences",
       make_ablate,
       {"duet ablate grid.json --out my-ablation",
        "duet ablate grid.json --data my-data --out my-ablation --processes 2"}},
      {"embed",
       "Write the embeddings of a split, a .npy a modality",
       make_embed,
       {"duet embed --run my-run --data my-data --out my-embeddings"}},
      {"search",
       "Find the rows of a file that are nearest to those of another",
       make_search,
       {"duet search --run my-run --query my-data/test --from audio --gallery my-data/test --to visual --top 5"}},
      {"export",
       "Write a trained model as others take it: ONNX, a hub's folder",
       make_export,
       {"duet export --run my-run --onnx my-model.onnx", "duet export --run my-run --hub my-model"}},
      {"import",
       "Convert files of arrays (npz, safetensors, HDF5, MATLAB, npy) to a folder that train reads",
       make_import,
       {"duet import vegas.h5 --out vegas",
        "duet import features.mat --map audio/train=/a,visual/train=/v,labels/train=/y --out my-data"}},
      {"check",
       "Say what a data set holds: shapes, types, statistics, classes, repeated rows, scaling",
       make_check,
       {"duet check my-data", "duet check vegas.h5 --pool max"}},
      {"report",
       "Write report.html into a run's folder: curves, what is confused, the shared space, examples",
       make_report,
       {"duet report --run my-run", "duet report --run my-run --data my-data"}},
      {"compare",
       "Lay several runs side by side: a table, and a page with their curves",
       make_compare,
       {"duet compare my-run other-run", "duet compare my-run other-run --html both.html"}},
      {"config",
       "Print a config file with every key, its default and meaning",
       make_config,
       {"duet config > my-config.json", "duet config --schema > duet.schema.json"}},
      {"info", "Version and machine facts", make_info, {"duet info", "duet info --json"}},
      {"demo",
       "Train triplet, then psd on the embedded digits with 10 % of the labels, and compare them",
       make_demo,
       {"duet demo", "duet demo --seed 7"}},
      {"completion",
       "Print a script that completes commands and options in bash, zsh or fish",
       make_completion,
       {"source <(duet completion bash)", "duet completion fish | source"}},
      {"man", "Print the manual page", make_man, {"duet man | man -l -"}},
  };
  return table;
}

std::string examples_text(const std::vector<std::string>& lines) {
  std::string words = "Examples:";
  for (const std::string& line : lines) words += "\n  " + line;
  return words;
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

// "did you mean '--epochs'? ", of the first argument that looks like an option and is none, where one is near; and
// which command tells of all.
std::string advice(const CLI::App& program, int argc, char** argv) {
  constexpr size_t kTypos = 2;
  const auto named = [&](const CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; };
  const std::vector<const CLI::App*> commands = program.get_subcommands(named);
  const CLI::App& app = commands.empty() ? program : *commands.front();
  std::string nearest, word;
  for (int i = 1; i < argc && word.empty(); ++i) {
    const std::string option = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    if (option.starts_with("--") && app.get_option_no_throw(option) == nullptr) word = option.substr(2);
  }
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) {
      const size_t typos = word.empty() ? kTypos + 1 : edit_distance(shown(word), name);
      if (typos <= kTypos && (nearest.empty() || typos < edit_distance(word, nearest))) nearest = name;
    }
  const std::string help = commands.empty() ? "duet --help" : text("duet ", app.get_name(), " --help");
  return text(" (", nearest.empty() ? "" : "did you mean '--" + nearest + "'? ", "see ", help, ")");
}

// Reads the arguments and does what they ask for.
int run_command(int argc, char** argv) {
  CLI::App program{
      "duet trains a pair of encoders that share one space, by cross-modal triplets and progressive self-distillation.",
      "duet"};
  const std::string version = std::string("duet ") + duet_version();
  program.set_version_flag("--version", version);
  bool quiet = false;
  const auto add_quiet = [&](CLI::App& app) {
    app.add_flag("--quiet", quiet, "say nothing on standard error but what went wrong");
  };
  add_quiet(program);
  program.require_subcommand(1);
  std::vector<std::string> firsts;
  std::vector<std::pair<const CLI::App*, std::unique_ptr<Command>>> commands;
  for (const CommandEntry& entry : command_table()) {
    CLI::App* const app = program.add_subcommand(entry.name, entry.summary);
    app->set_version_flag("--version", version);
    add_quiet(*app);
    app->footer(examples_text(entry.examples));
    commands.emplace_back(app, entry.make()).second->declare(*app);
    firsts.push_back(entry.examples.front());
  }
  program.footer(examples_text(firsts));

  // CLI11 would only say that a command is missing.
  const auto named = [&](const CLI::App* command) { return command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && program.get_subcommands(named).empty())
    throw UsageError(unknown_command(program, argv[1]));
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    program.exit(asked, std::cout, std::cerr);
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    throw UsageError(one_line(error.what(), argc, argv) + advice(program, argc, argv));
  }
  const CLI::App* const asked = program.get_subcommands().front();
  usage_require(launched_size() == 1 || asked->get_name() == "train", asked->get_name(),
                ": one process does it, and the launcher started ", launched_size(), "; train alone takes several");
  if (quiet) std::cerr.setstate(std::ios_base::failbit);  // report_error() opens it again
  return std::ranges::find(commands, asked, &decltype(commands)::value_type::first)->second->run();
}

int report_error(const std::string& message, ExitCode code) {
  if (code == kExitUsage && launched_rank() > 0) return leave_word_to_first(), code;
  std::cerr.clear();
  std::cerr << "duet: " << printable(message) << '\n';  // it may hold a file's name, which may hold anything
  return code;
}

}  // namespace

int run_program(int argc, char** argv) {
  // A limit on the size of files then makes write() fail, which is reported, instead of ending the program.
  std::signal(SIGXFSZ, SIG_IGN);
  report_broken_mappings();
  const ReadingLimit limit(default_data_memory(), temporary_folder());
  try {
    const int code = run_command(argc, argv);
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
