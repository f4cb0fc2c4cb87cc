// Ranks that are threads of one process: the double that tests run on.
#pragma once

#include <functional>

#include "runtime/ranks/ranks.h"

namespace duet {

// Runs body on so many threads at once, 1 or more, each with ranks of its own, and returns when all have ended. Where a
// body throws, or ends while another rank waits for it, the calls of the others throw DUET_STATUS_IO_ERROR that names
// it; the exception that came first is thrown to the caller.
void run_thread_ranks(int size, const std::function<void(Ranks& ranks)>& body);

}  // namespace duet
