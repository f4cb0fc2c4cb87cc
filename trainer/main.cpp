#include <unistd.h>

#include <cstdlib>

#include "trainer/commands.h"

namespace {

// OpenMP threads that wait for work spin for milliseconds by default, which starves everyone where the cores are shared: 220 steps took 33 s
// beside other programs, 4.4 s with this. libgomp reads the setting before main() does, so the program starts itself anew, once.
void wait_politely(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "10000", 0);
  execv("/proc/self/exe", argv);  // returns only where it fails, and then the default serves
}

}  // namespace

int main(int argc, char** argv) {
  wait_politely(argv);
  return duet::run_program(argc, argv);
}
