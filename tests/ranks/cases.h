// What every engine must do, as cases that run on one rank of a job; they need no test framework, so that a launcher
// can start them.
#pragma once

#include <string>
#include <vector>

#include "runtime/ranks/ranks.h"

namespace duet::test {

// Runs all cases. Every rank must call it. Returns a line a case, "NAME CHECKSUM", of results that depend neither on
// the engine nor on the number of ranks; throws std::runtime_error, naming case and rank, where one is wrong.
std::vector<std::string> run_rank_cases(Ranks& ranks);

}  // namespace duet::test
