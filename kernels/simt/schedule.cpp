// Which schedule, and what is said when a kernel is found out.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/simt/machine.h"

namespace duet::simt {
namespace {

Schedule from_environment() {
  Schedule schedule;
  const char* const order = std::getenv("DUET_SIMT_ORDER");
  const char* const seed = std::getenv("DUET_SIMT_SEED");
  if (order && !std::strcmp(order, "reverse"))
    schedule.order = Order::reverse;
  else if (order && !std::strcmp(order, "random"))
    schedule.order = Order::random;
  else if (order && std::strcmp(order, "forward"))
    throw Error(DUET_INVALID_ARGUMENT, text("DUET_SIMT_ORDER: forward, reverse or random, not '", order, "'"));
  schedule.seed =
      seed ? std::strtoull(seed, nullptr, 10) : static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) % 1000000;
  return schedule;
}

Schedule& current_schedule() {
  static Schedule schedule = from_environment();
  return schedule;
}

}  // namespace

Schedule schedule() { return current_schedule(); }
void set_schedule(const Schedule& schedule) {
  current_schedule() = schedule;
  machine.launches = 0;  // so that a run of this schedule alone repeats it
}

std::string repeat_command() {
  const Schedule schedule = current_schedule();
  const char* const names[] = {"forward", "reverse", "random"};
  std::string command = text("DUET_SIMT_ORDER=", names[static_cast<int>(schedule.order)]);
  if (schedule.order == Order::random) command += text(" DUET_SIMT_SEED=", schedule.seed);
  std::ifstream arguments("/proc/self/cmdline");
  for (std::string argument; std::getline(arguments, argument, '\0');) command += " '" + argument + "'";
  return command;
}

void record_finding(const std::string& finding) {
  const Unseen unseen;
  const bool inside = machine.self != &machine.host;
  machine.finding = text("simt: ", machine.kernel ? machine.kernel : "no kernel");
  if (inside)
    machine.finding +=
        text(", block (", blockIdx.x, ", ", blockIdx.y, ", ", blockIdx.z, "), thread (", threadIdx.x, ", ", threadIdx.y, ", ", threadIdx.z, ")");
  machine.finding += text(": ", finding, "\nrepeat with: ", repeat_command());
}

}  // namespace duet::simt
