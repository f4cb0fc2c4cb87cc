// Ctrl-C, SIGTERM and a hang-up as requests: the loop finishes its step, saves and ends. Another signal half a second
// later, or more, ends the program at once; what comes sooner is the same request, which many senders make twice:
// timeout to the process and to its group, a closed terminal by the shell and by the kernel.
#pragma once

#include <array>
#include <csignal>

namespace duet {

// Thrown where what is under way is given up for a signal of this number.
struct Interrupted {
  int number;
};

// While one lives, the first SIGINT, SIGTERM or SIGHUP is only noted, and so are others within half a second; a later
// one has its default effect. One that was ignored before stays ignored, as nohup and a shell's background jobs want
// it. At most one guard at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // The number of the signal that came; 0: none.
  int requested() const;
  // Throws Interrupted where one came: between the parts of what takes long.
  void check() const;

 private:
  std::array<struct sigaction, 3> previous_;
};

}  // namespace duet
