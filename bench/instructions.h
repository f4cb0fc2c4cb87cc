// Instruction counts of single calls, for the guard: under callgrind, where time says nothing and counts do not vary.
#pragma once

#include "bench/measure.h"

namespace duet::bench {

// Whether the program was built where valgrind's headers are, and runs under valgrind.
bool counts_instructions();

// One call of the pass on set 0, dumped by callgrind under the given name. Call warm_up_and_verify() first: a first
// call pays for more.
void count_instructions(Prepared& prepared, Pass pass, const std::string& name);

}  // namespace duet::bench
