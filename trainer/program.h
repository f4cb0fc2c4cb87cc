// The program `duet`, from its arguments to its exit code.
#pragma once

namespace duet {

// Results go to standard output, everything else to standard error; an error is one line. Throws nothing.
int run_program(int argc, char** argv);

}  // namespace duet
