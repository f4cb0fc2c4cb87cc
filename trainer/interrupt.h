// Ctrl-C as a request: the loop finishes its step, saves and ends. A second Ctrl-C ends the program at once.
#pragma once

#include <csignal>

namespace duet {

// While one lives, SIGINT only sets a flag. At most one at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;

 private:
  struct sigaction previous_;
};

}  // namespace duet
