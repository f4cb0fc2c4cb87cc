// The ranks that a launcher, mpirun or mpiexec, started this process as one of: they train one model together.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "runtime/ranks/ranks.h"

namespace duet {

// What the launcher of an MPI said to this process; without one a job of one rank.
int launched_rank();
int launched_size();
// Of a rank other than 0 that found what every rank finds by itself: waits while rank 0 says it and ends with an exit
// code of its own, after which a launcher ends all ranks.
void leave_word_to_first();
// CPU threads for this rank: its cores by the number of ranks of its machine that may use some of them; 0, as many as
// it may use, where no other may. Every rank calls it.
int64_t threads_of_rank(Ranks& ranks);

class MpiRanks;

// At most one in a process. From its start on a rank other than 0 says nothing but what it alone finds wrong.
class LaunchedRanks {
 public:
  // timeout: how long a rank waits for others that do not answer; at least 1 s. Throws UsageError where there are
  // several ranks and this build has no MPI, and what MpiRanks() throws.
  explicit LaunchedRanks(std::chrono::seconds timeout = kTimeout);
  ~LaunchedRanks();
  LaunchedRanks(const LaunchedRanks&) = delete;
  LaunchedRanks& operator=(const LaunchedRanks&) = delete;

  // So that a job has ended 30 s after a rank has.
  static constexpr std::chrono::seconds kTimeout{25};

  // null: this process alone, without a launcher or in a build without MPI; and after finish().
  Ranks* get() const;
  bool is_first() const { return launched_rank() == 0; }
  // The ranks have no more to tell each other: they have trained, or know that they will not. Every rank calls it; once
  // more does nothing. A process that ends without it has failed for its launcher, which ends the others.
  void finish();

 private:
  std::unique_ptr<MpiRanks> mpi_;
};

}  // namespace duet
