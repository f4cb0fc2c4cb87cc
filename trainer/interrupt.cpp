#include "trainer/interrupt.h"

namespace duet {
namespace {

constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t requested_signal = 0;

void request(int number) {
  if (requested_signal != 0) {  // it ends the program when this handler has returned, until when it is blocked
    std::signal(number, SIG_DFL);
    std::raise(number);
  } else {
    requested_signal = number;
  }
}

}  // namespace

InterruptGuard::InterruptGuard() {
  requested_signal = 0;
  struct sigaction action {};
  action.sa_handler = request;
  action.sa_flags = SA_RESTART;  // writes under way are not cut short
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals) sigaddset(&action.sa_mask, number);
  for (size_t k = 0; k < kSignals.size(); ++k) {
    sigaction(kSignals[k], nullptr, &previous_[k]);
    if (previous_[k].sa_handler != SIG_IGN) sigaction(kSignals[k], &action, nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  for (size_t k = 0; k < kSignals.size(); ++k) sigaction(kSignals[k], &previous_[k], nullptr);
}

int InterruptGuard::requested() const { return requested_signal; }

}  // namespace duet
