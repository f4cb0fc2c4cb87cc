#include <unistd.h>

#include <cstdlib>

#include "trainer/commands.h"

namespace {

// OpenMP threads that wait for work spin for milliseconds by default, which is ruinous where the cores are shared. 40 epochs of psd on avdigits,
// 2 threads beside other programs: over 100 s by default, 24 s at 10000 turns, 3.7 s at 1000 (tens of microseconds, longer than most waits), 5.9 s at
// 0. libgomp reads the setting before main() does, so the program starts itself anew, once.
void wait_politely(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "1000", 0);
  execv("/proc/self/exe", argv);  // returns only where it fails, and then the default serves
}

}  // namespace

int main(int argc, char** argv) {
  wait_politely(argv);
  return duet::run_program(argc, argv);
}
