#include "trainer/interrupt.h"

namespace duet {
namespace {

volatile std::sig_atomic_t interrupt_requested = 0;

void request(int) { interrupt_requested = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupt_requested = 0;
  struct sigaction action {};
  action.sa_handler = request;
  // The handler serves once, so that a second signal has its default effect; writes under way are not cut short.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &previous_, nullptr); }

bool InterruptGuard::requested() const { return interrupt_requested != 0; }

}  // namespace duet
