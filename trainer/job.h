// The job that a launcher, mpirun or mpiexec, started this process for: its ranks train one model together.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "runtime/ranks/ranks.h"

namespace duet {

// What the launcher of an MPI said to this process; without one a job of one rank.
int launched_rank();
int launched_size();
// Of a rank other than 0 that ends with an exit code, where rank 0 does too and says why: waits until rank 0 has, since
// a launcher ends all ranks with the first.
void leave_word_to_first();
// CPU threads for each rank where those of this machine share its cores; 0: as many as this process may use, where it
// is the only one here, or the launcher gave it cores of its own.
int64_t threads_of_rank();

class MpiRanks;

// While one lives, a rank other than 0 says nothing but what it alone finds wrong.
class Job {
 public:
  // patience: how long a rank waits for others that do not answer; at least 1 s. Throws UsageError where there are
  // several ranks and this build has no MPI, and what MpiRanks() throws.
  explicit Job(std::chrono::seconds patience = kPatience);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // So that a job has ended 30 s after a rank has.
  static constexpr std::chrono::seconds kPatience{25};

  // null: this process alone, without a launcher or in a build without MPI; and after finish().
  Ranks* ranks() const;
  bool is_first() const { return launched_rank() == 0; }
  // The ranks have no more to tell each other: they have trained, or know that they will not. Once is enough. A process
  // that ends without it has failed for its launcher, which ends the others.
  void finish();

 private:
  std::unique_ptr<MpiRanks> mpi_;
};

}  // namespace duet
