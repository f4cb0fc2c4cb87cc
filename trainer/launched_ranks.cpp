#include "trainer/launched_ranks.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <span>
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

int64_t threads_of_rank(Ranks& ranks) {
  struct Place {
    std::array<char, 256> host;
    cpu_set_t cores;
  };
  Place mine = {};
  gethostname(mine.host.data(), mine.host.size() - 1);
  if (sched_getaffinity(0, sizeof mine.cores, &mine.cores) != 0) return 0;
  const Gathered all = ranks.all_gather(std::as_bytes(std::span(&mine, 1)));
  int sharing = 0;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    Place other;
    std::memcpy(&other, all.of(rank).data(), sizeof other);
    cpu_set_t common;
    CPU_AND(&common, &mine.cores, &other.cores);
    sharing += other.host == mine.host && CPU_COUNT(&common) > 0;
  }
  return sharing <= 1 ? 0 : std::max(1, CPU_COUNT(&mine.cores) / sharing);
}

#ifdef DUET_MPI
namespace {

class Nowhere : public std::streambuf {
 protected:
  int overflow(int character) override { return character == traits_type::eof() ? 0 : character; }
  std::streamsize xsputn(const char*, std::streamsize count) override { return count; }
};

void silence() {
  std::cout.rdbuf(new Nowhere);                // not owned: what is flushed when the process ends goes there too
  std::cerr.setstate(std::ios_base::failbit);  // as --quiet; an error opens it again
}

}  // namespace

LaunchedRanks::LaunchedRanks(std::chrono::seconds timeout) {
  if (launched_rank() > 0) silence();
  if (std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMI_SIZE"))
    mpi_ = std::make_unique<MpiRanks>(MpiOptions{.deadline = timeout});
}
Ranks* LaunchedRanks::get() const { return mpi_.get(); }
void LaunchedRanks::finish() {
  if (const std::unique_ptr<MpiRanks> mpi = std::move(mpi_)) mpi->finish();
}
#else
class MpiRanks {};
LaunchedRanks::LaunchedRanks(std::chrono::seconds) {
  usage_require(launched_size() == 1, "train: the launcher started ", launched_size(),
                " ranks, and this duet has no MPI (cmake --preset mpi or mpich makes one that has)");
}
Ranks* LaunchedRanks::get() const { return nullptr; }
void LaunchedRanks::finish() {}
#endif
LaunchedRanks::~LaunchedRanks() = default;

}  // namespace duet
