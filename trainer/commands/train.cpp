// `duet train`: trains a pair of encoders, into a run directory or for its report alone.
#include <array>
#include <cmath>
#include <iostream>

#include "trainer/commands/command.h"
#include "trainer/commands/options.h"
#include "trainer/launched_ranks.h"
#include "trainer/method.h"
#include "trainer/rank_agreement.h"
#include "trainer/report.h"
#include "trainer/run_directory.h"
#include "trainer/training.h"
#include "trainer/usage_error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

// An option of `duet train` that stands for a config key.
struct Shorthand {
  const char* option;
  const char* key;
  const char* value_name;
  bool is_path = false;
};
constexpr Shorthand kShorthands[] = {{"--data", "data", "PATH", true},
                                     {"--modalities", "modalities", "A,B"},
                                     {"--map", "map", "ARRAY/SPLIT=PATH,..."},
                                     {"--method", "method", "METHOD"},
                                     {"--labels", "labels", "SHARE"},
                                     {"--validation", "validation", "SHARE"},
                                     {"--epochs", "epochs", "N"},
                                     {"--seed", "seed", "N"},
                                     {"--threads", "threads", "N"},
                                     {"--steps", "steps", "N"},
                                     {"--log-every", "log_every_steps", "K"},
                                     {"--init", "init", "MODEL", true}};

class TrainCommand final : public Command {
 public:
  void declare(CLI::App& app) override;
  int run() override;

 private:
  // notes: what was given and has no effect, a line each.
  Config config(std::vector<std::string>& notes) const;
  int train(LaunchedRanks& launched);

  std::optional<std::string> config_file_;
  std::array<std::optional<std::string>, std::size(kShorthands)> shorthands_;
  std::vector<std::string> assignments_;
  std::optional<fs::path> run_, resume_;
  DeviceChoice device_;
  bool other_machine_ = false, profile_ = false, tensorboard_ = false;
  std::optional<int64_t> rank_timeout_;
};

void TrainCommand::declare(CLI::App& app) {
  app.add_option("--config", config_file_, "JSON file of config keys (duet config prints one)")->type_name("FILE");
  // The config's own reader looks at them, after the file's keys. An empty path is a shell variable that was not set,
  // not a wish for the embedded digits.
  for (size_t i = 0; i < std::size(kShorthands); ++i) {
    const Shorthand& each = kShorthands[i];
    const auto take = [this, i, &each](const std::string& value) {
      usage_require(!value.empty() || !each.is_path, each.option, ": expected a path, got nothing");
      shorthands_[i] = value;
    };
    app.add_option_function<std::string>(each.option, take, key_words(*find_key(each.key)))->type_name(each.value_name);
  }
  CLI::Option* const run =
      add_path(app, "--run", run_, "run directory to write, new or empty; without it nothing is written", "DIR");
  CLI::Option* const resume =
      add_path(app, "--resume", resume_,
               "run directory of a run that goes on with the bits of one that was never interrupted; --epochs may be "
               "larger than before",
               "DIR");
  resume->excludes(run)->excludes("--init");
  app.add_flag("--other-machine", other_machine_,
               "resume although version, SIMD target or device are others, which changes bits")
      ->needs(resume);
  app.add_option("--set", assignments_, "any config keys; may be repeated")->type_name("KEY=VALUE");
  declare_device(app, device_);
  app.add_option("--rank-timeout", rank_timeout_,
                 "of a run on several ranks (mpirun -n N duet train): seconds that a rank waits for others that do not "
                 "answer [25]")
      ->type_name("SECONDS")
      ->check(CLI::Range(int64_t{1}, int64_t{86400}));
  app.add_flag("--tensorboard", tensorboard_, key_words(*find_key("tensorboard")));
  app.add_flag("--profile", profile_,
               "time each phase of a step, waiting for it: a table at the end, and profile.json in the run directory");
}

Config TrainCommand::config(std::vector<std::string>& notes) const {
  Config config;
  const auto note = [&](const std::vector<std::string>& lines) {
    notes.insert(notes.end(), lines.begin(), lines.end());
  };
  std::string file = config_file_.value_or(""), misfit_of_file;
  if (resume_ && !config_file_) file = (*resume_ / kConfigFile).string();
  std::error_code ignored;
  // Whether there is a run to resume is said by whoever looks for it.
  if (config_file_ || (resume_ && fs::exists(file, ignored))) {
    note(set_from_file(config, file));
    misfit_of_file = misfit(config);
  }
  for (size_t i = 0; i < std::size(kShorthands); ++i)
    if (shorthands_[i]) set_from_text(config, kShorthands[i].key, *shorthands_[i], kShorthands[i].option);
  if (tensorboard_) config.tensorboard = true;
  for (const std::string& assignment : assignments_) note(set_from_assignment(config, assignment));
  // Keys that do not fit together may come from several places; where the file's own do not, it is named.
  const std::string fault = misfit(config);
  usage_require(fault.empty(), fault == misfit_of_file ? file + ": " : "", fault);
  return config;
}

int TrainCommand::run() {
  LaunchedRanks launched(rank_timeout_ ? std::chrono::seconds(*rank_timeout_) : LaunchedRanks::kTimeout);
  // What ends every rank before its first step, or in the same step, is known to all. Rank 0 says it and has the exit
  // code; the others end well, since a launcher ends all ranks with the first that does not.
  const auto ended = [&] {
    launched.finish();
    return !launched.is_first();
  };
  try {
    const int code = train(launched);
    return ended() ? kExitDone : code;
  } catch (const SharedUsageError&) {
    if (ended()) return kExitDone;
    throw;
  } catch (const SaidByFirst&) {
    ended();
    return kExitDone;
  } catch (const NotFinite&) {
    if (ended()) return kExitDone;
    throw;
  }
}

int TrainCommand::train(LaunchedRanks& launched) {
  std::vector<std::string> notes;
  TrainingOrder order;
  order.ranks = launched.get();
  order.ranks_done = [&] { launched.finish(); };
  together(order.ranks, [&] { order.config = config(notes); });
  if (order.ranks) order.default_threads = threads_of_rank(*order.ranks);
  print_notes(notes);
  PhaseTimes times;
  order.device = device_;
  order.directory = resume_ ? resume_ : run_;
  order.resume = resume_.has_value();
  order.other_machine = other_machine_;
  if (profile_) order.times = &times;
  const Training run = run_training(order);
  const std::optional<fs::path>& directory = order.directory;
  if (run.result.interrupted_by) {
    print_notes({text(
        "interrupted after step ", run.result.steps, ": ",
        directory ? "duet train --resume " + directory->string() + " goes on" : "without --run nothing is kept")});
    return kExitSignal + run.result.interrupted_by;
  }
  std::vector<ReportRow> rows = {{order.config.method, run.result.evaluation, run.result.seconds}};
  if (run.result.best_evaluation)
    rows.push_back({text(order.config.method, ", best (epoch ", run.result.best.epoch, ")"),
                    *run.result.best_evaluation, std::nan("")});
  std::cout << report_table(rows, run.modalities[0], run.modalities[1]);
  std::cerr << coincidence_warning(run.result.evaluation, run.modalities[0], run.modalities[1]);
  if (profile_) std::cout << times.table();
  if (directory) std::cout << "written to " << shown_path(*directory) << '\n';
  return kExitDone;
}

}  // namespace

std::unique_ptr<Command> make_train() { return std::make_unique<TrainCommand>(); }

}  // namespace duet
