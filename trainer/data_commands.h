// The commands that read data sets and train nothing. Each returns the program's exit code, or throws UsageError.
#pragma once

#include "trainer/command_line.h"

namespace duet {

// duet import SOURCE... --out DIR: every array of every split as DIR/SPLIT/ARRAY.npy, all of them or none.
int import_command(const CommandLine& line);
// duet check PATH: what training would find, on standard output.
int check_command(const CommandLine& line);

}  // namespace duet
