// Which schedule, and what is said when a kernel is found out.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/simt/machine.h"

namespace duet::simt {
namespace {

constexpr const char* kOrders[] = {"forward", "reverse", "random"};

Schedule from_environment() {
  const char* const order = std::getenv("DUET_SIMT_ORDER");
  const char* const seed = std::getenv("DUET_SIMT_SEED");
  int number = 0;
  while (order && number < 3 && std::strcmp(order, kOrders[number])) ++number;
  if (number == 3)
    throw Error(DUET_STATUS_INVALID_ARGUMENT, text("DUET_SIMT_ORDER: forward, reverse or random, not '", order, "'"));
  const auto clock = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  return {static_cast<Order>(number), seed ? std::strtoull(seed, nullptr, 10) : clock % 1000000};
}

Schedule& current_schedule() {
  static Schedule schedule = from_environment();
  return schedule;
}

}  // namespace

Schedule schedule() { return current_schedule(); }
void set_schedule(const Schedule& schedule) {
  current_schedule() = schedule;
  machine.launches = machine.replays = 0;  // so that a run of this schedule alone repeats it
}

std::string repeat_command() {
  const Schedule schedule = current_schedule();
  std::string command = text("DUET_SIMT_ORDER=", kOrders[static_cast<int>(schedule.order)]);
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
    machine.finding += text(", block (", blockIdx.x, ", ", blockIdx.y, ", ", blockIdx.z, "), thread (", threadIdx.x,
                            ", ", threadIdx.y, ", ", threadIdx.z, ")");
  machine.finding += text(": ", finding, "\nrepeat with: ", repeat_command());
}

}  // namespace duet::simt
