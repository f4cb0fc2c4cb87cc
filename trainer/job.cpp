#include "trainer/job.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <thread>
#include <utility>

#include "trainer/usage_error.h"
#ifdef DUET_MPI
#include <iostream>
#include <streambuf>

#include "runtime/ranks/mpi_ranks.h"
#endif

namespace duet {
namespace {

// What one of these variables says, a whole number; of Open MPI and of MPICH and those that speak as it does.
int variable(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    const char* const value = std::getenv(name);
    int number = 0;
    if (value == nullptr) continue;
    const std::string_view words = value;
    const auto [end, error] = std::from_chars(words.data(), words.data() + words.size(), number);
    if (error == std::errc() && end == words.data() + words.size() && number >= 0) return number;
  }
  return otherwise;
}

}  // namespace

int launched_rank() { return variable({"OMPI_COMM_WORLD_RANK", "PMI_RANK"}, 0); }

int launched_size() { return std::max(1, variable({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1)); }

void leave_word_to_first() {
  constexpr std::chrono::seconds kTurn{2};
  if (launched_rank() > 0) std::this_thread::sleep_for(kTurn);
}

int64_t threads_of_rank() {
  const int here = variable({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}, launched_size());
  cpu_set_t mask;
  const int cores = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
  const bool has_its_own = cores < static_cast<int>(std::thread::hardware_concurrency());
  return here <= 1 || has_its_own ? 0 : std::max(1, cores / here);
}

#ifdef DUET_MPI
namespace {

class Nowhere : public std::streambuf {
 protected:
  int overflow(int character) override { return character == traits_type::eof() ? 0 : character; }
  std::streamsize xsputn(const char*, std::streamsize count) override { return count; }
};

void silence() {
  static Nowhere nowhere;
  std::cout.rdbuf(&nowhere);
  std::cerr.setstate(std::ios_base::failbit);  // as --quiet; an error opens it again
}

}  // namespace

Job::Job(std::chrono::seconds patience) {
  if (launched_rank() > 0) silence();
  if (std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMI_SIZE"))
    mpi_ = std::make_unique<MpiRanks>(MpiOptions{.deadline = patience});
}
Ranks* Job::ranks() const { return mpi_.get(); }
void Job::finish() {
  if (const std::unique_ptr<MpiRanks> mpi = std::move(mpi_)) mpi->finish();
}
#else
class MpiRanks {};
Job::Job(std::chrono::seconds) {
  usage_require(launched_size() == 1, "train: the launcher started ", launched_size(),
                " ranks, and this duet has no MPI (cmake --preset mpi or mpich makes one that has)");
}
Ranks* Job::ranks() const { return nullptr; }
void Job::finish() {}
#endif
Job::~Job() = default;

}  // namespace duet
