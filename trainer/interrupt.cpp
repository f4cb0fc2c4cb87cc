#include "trainer/interrupt.h"

#include <time.h>

#include <cstdint>

namespace duet {
namespace {

constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};

constexpr int64_t kSameRequest = 500'000'000;  // nanoseconds

volatile std::sig_atomic_t requested_signal = 0;
int64_t requested_at = 0;  // of the handler alone, which is blocked while it runs

void request(int number) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t at = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  if (requested_signal == 0) {
    requested_at = at;
    requested_signal = number;
  } else if (at - requested_at >=
             kSameRequest) {  // it ends the program when this handler has returned, until when it is blocked
    std::signal(number, SIG_DFL);
    std::raise(number);
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

void InterruptGuard::check() const {
  if (const int number = requested()) throw Interrupted{number};
}

}  // namespace duet
