// The commands of the program, from its arguments to its exit code.
#pragma once

#include <memory>

#include "trainer/command_line.h"
#include "trainer/model.h"

namespace duet {

enum ExitCode { kExitDone = 0, kExitFailure = 1, kExitUsage = 2 };
// Plus the number of the signal that ended a command early, as shells count.
inline constexpr int kExitSignal = 128;

// Of a command that says nothing else of where it works: a device that is no CPU, or why it is the CPU.
void print_device(const ChosenDevice& chosen);
// The model of line.run. Throws UsageError where there is none.
std::unique_ptr<Model> load_model(const CommandLine& line, duet_context* context);

// Results go to standard output, everything else to standard error; an error is one line. Throws nothing.
int run_program(int argc, char** argv);

}  // namespace duet
