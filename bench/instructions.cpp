#include "bench/instructions.h"

#ifdef DUET_CALLGRIND
#include <valgrind/callgrind.h>
#endif

namespace duet::bench {

bool counts_instructions() {
#ifdef DUET_CALLGRIND
  return RUNNING_ON_VALGRIND != 0;
#else
  return false;
#endif
}

void count_instructions([[maybe_unused]] Prepared& prepared, [[maybe_unused]] Pass pass,
                        [[maybe_unused]] const std::string& name) {
#ifdef DUET_CALLGRIND
  CALLGRIND_START_INSTRUMENTATION;  // the run starts without: what prepares a call is not slowed down
  CALLGRIND_ZERO_STATS;
  if (pass != Pass::backward) prepared.forward(0);
  if (pass != Pass::forward) prepared.backward(0);
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  CALLGRIND_STOP_INSTRUMENTATION;
#endif
}

}  // namespace duet::bench
