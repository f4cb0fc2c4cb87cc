// The commands of the program, from its arguments to its exit code.
#pragma once

namespace duet {

enum ExitCode { kExitDone = 0, kExitFailure = 1, kExitUsage = 2 };
// Plus the number of the signal that ended a command early, as shells count.
inline constexpr int kExitSignal = 128;

// Results go to standard output, everything else to standard error; an error is one line. Throws nothing.
int run_program(int argc, char** argv);

}  // namespace duet
