// Ranks that are processes, which an MPI launcher starts: `mpirun -n 4 PROGRAM`. Payloads lie in the host's memory.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "runtime/ranks/ranks.h"

namespace duet {

struct MpiOptions {
  // A call ends with an error where nothing has arrived or left for so long, so that a job has ended 30 s after a rank
  // has: ranks must come to a call within this time of each other. At least 1 s.
  std::chrono::milliseconds deadline{25'000};
  // Larger messages travel in parts of so many bytes, each of which must pass within the deadline; 1 to 2^31 - 1, alike
  // on all ranks.
  size_t part_bytes = size_t{1} << 24;
};

// One of them a process, on the thread that makes it and calls it. Messages go from rank to rank, and while a rank
// waits it says so to the others, so that an error names the ranks that are silent, and not those that wait for them
// too.
class MpiRanks : public Ranks {
 public:
  // Starts MPI; collective. Throws DUET_STATUS_INVALID_ARGUMENT for options out of range, DUET_STATUS_UNSUPPORTED where
  // MPI has been started before in this process, where the launcher is another MPI's (every process would be a job of
  // its own), or where the library is not the one that this was built with, or not on all ranks the same.
  explicit MpiRanks(const MpiOptions& options = {});
  // Leaves MPI as it is: a process that ends without finish() has failed for its launcher, which ends the others.
  ~MpiRanks() override;

  // Waits for all ranks, then ends MPI; the last call. Where a rank stops in between, SIGALRM ends this process after
  // the deadline.
  void finish();

 protected:
  void exchange(const char* call, std::span<const Outgoing> outgoing, std::span<const Incoming> incoming) override;

 private:
  class Engine;
  explicit MpiRanks(std::unique_ptr<Engine> engine);

  std::unique_ptr<Engine> engine_;
};

}  // namespace duet
