// What every engine of device ranks must do, on one rank of a job.
#pragma once

#include "runtime/ranks/device_ranks.h"

namespace duet::test {

// Runs all cases on memory of the context of these ranks, which stand on ranks. Every rank must call it. Throws
// std::runtime_error, naming what is wrong.
void run_device_rank_cases(DeviceRanks& device_ranks, Ranks& ranks, duet_context* context);

}  // namespace duet::test
