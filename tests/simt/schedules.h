// The schedules that the emulator's own tests go through.
#pragma once

#include <doctest/doctest.h>

#include "kernels/simt/simt.h"

namespace duet::simt {

// Forward, reverse, and eight random ones from DUET_SIMT_SEED on, or from the clock.
template <class Body>
void for_each_schedule(Body&& body) {
  const Schedule before = schedule();
  const auto run = [&](const Schedule& schedule) {
    set_schedule(schedule);
    INFO("repeat with: " << repeat_command());
    body();
  };
  run({Order::forward, 0});
  run({Order::reverse, 0});
  for (uint64_t k = 0; k < 8; ++k) run({Order::random, before.seed + k});
  set_schedule(before);
}

}  // namespace duet::simt
