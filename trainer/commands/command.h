// The commands of the program. Each is a class: its options, and what it does; trainer/program.cpp has the table.
#pragma once

#include <memory>

namespace CLI {
class App;
}

namespace duet {

enum ExitCode { kExitDone = 0, kExitFailure = 1, kExitUsage = 2 };
// Plus the number of the signal that ended a command early, as shells count.
inline constexpr int kExitSignal = 128;

class Command {
 public:
  virtual ~Command() = default;
  // Gives app the command's options; what the arguments say of them lands in the command. What reads a value may throw
  // UsageError.
  virtual void declare(CLI::App& app) = 0;
  // Does it: results on standard output, everything else on standard error. Returns the exit code. Throws UsageError,
  // or another exception where it fails for another reason; its text is one line.
  virtual int run() = 0;
};

using MakeCommand = std::unique_ptr<Command> (*)();

std::unique_ptr<Command> make_train();
std::unique_ptr<Command> make_eval();
std::unique_ptr<Command> make_baseline();
std::unique_ptr<Command> make_ablate();
std::unique_ptr<Command> make_embed();
std::unique_ptr<Command> make_search();
std::unique_ptr<Command> make_export();
std::unique_ptr<Command> make_import();
std::unique_ptr<Command> make_report();
std::unique_ptr<Command> make_compare();
std::unique_ptr<Command> make_check();
std::unique_ptr<Command> make_config();
std::unique_ptr<Command> make_info();
std::unique_ptr<Command> make_demo();
std::unique_ptr<Command> make_completion();
std::unique_ptr<Command> make_man();

}  // namespace duet
