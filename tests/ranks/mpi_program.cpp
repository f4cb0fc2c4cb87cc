// What the scripts beside it start under an MPI launcher. Everything that fails is one line and exit code 1.
//
//   cases [PART_BYTES]     runs cases.h on the ranks; rank 0 prints its lines
//   threads RANKS          the same on so many threads, without a launcher
//   loop DEADLINE          every rank prints "rank R pid P", then all make calls until something ends them
//   late DEADLINE          rank 1 comes to each of 3 calls 0.6 of the deadline late
//   chain DEADLINE         rank 0 waits for rank 1 alone, rank 1 for rank 2, which stops
//   throw DEADLINE         rank 1 throws after its first call
//   leave DEADLINE         rank 1 ends with exit code 0 after its first call, without finish()
//   large BYTES            rank 0 gathers and sends messages of so many bytes
//
// Deadlines are in milliseconds.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "kernels/core/error.h"
#include "runtime/ranks/mpi_ranks.h"
#include "runtime/ranks/thread_ranks.h"
#include "tests/ranks/cases.h"

using namespace duet;

namespace {

// An engine whose messages the test chooses.
class BareRanks : public MpiRanks {
 public:
  using MpiRanks::MpiRanks;
  void take_one(int from) {
    std::byte byte{};
    const Incoming message{from, std::span(&byte, 1)};
    exchange("chain", {}, std::span(&message, 1));
  }
};

void print(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
}

void loop(Ranks& ranks) {
  std::printf("rank %d pid %d\n", ranks.rank(), static_cast<int>(getpid()));
  std::fflush(stdout);
  std::vector<float> sum(200'000), node(200'000, 1);
  const float* nodes[] = {node.data()};
  const int64_t blocks = ranks.size();
  while (true) {
    ranks.all_reduce(RankSums{blocks, share(blocks, ranks.rank(), ranks.size()), nodes, 200'000}, sum);
    ranks.all_gather(std::as_bytes(std::span(sum)));
    ranks.barrier();
  }
}

void large(Ranks& ranks, size_t bytes) {
  std::vector<std::byte> mine(ranks.rank() == 0 ? bytes : 1), all(bytes + static_cast<size_t>(ranks.size()) - 1);
  for (size_t i = 0; i < mine.size(); i += 4096) mine[i] = static_cast<std::byte>(i / 4096 % 253);
  if (ranks.rank() == 0) mine.back() = std::byte{77};
  ranks.all_gather(mine, all);
  for (size_t i = 0; i + 1 < bytes; i += 4096)
    if (all[i] != static_cast<std::byte>(i / 4096 % 253)) throw std::runtime_error("large: other bytes");
  if (all[bytes - 1] != std::byte{77}) throw std::runtime_error("large: another last byte");
}

int run(const std::string& mode, int64_t number) {
  using std::chrono::milliseconds;
  if (mode == "threads") {
    run_thread_ranks(static_cast<int>(number), [](Ranks& ranks) {
      const std::vector<std::string> lines = test::run_rank_cases(ranks);
      if (ranks.rank() == 0) print(lines);
    });
    return 0;
  }
  MpiOptions options;
  if (mode == "cases" && number > 0)
    options.part_bytes = static_cast<size_t>(number);
  else if (mode != "cases" && mode != "large")
    options.deadline = milliseconds(number);
  BareRanks ranks(options);
  if (mode == "cases") {
    const std::vector<std::string> lines = test::run_rank_cases(ranks);
    if (ranks.rank() == 0) print(lines);
  } else if (mode == "loop") {
    loop(ranks);
  } else if (mode == "late") {
    for (int call = 0; call < 3; ++call) {
      if (ranks.rank() == 1) std::this_thread::sleep_for(milliseconds(number * 6 / 10));
      ranks.barrier();
    }
  } else if (mode == "chain") {
    ranks.barrier();
    if (ranks.rank() == 2) std::raise(SIGSTOP);
    if (ranks.rank() < 2) ranks.take_one(ranks.rank() + 1);
  } else if (mode == "throw" || mode == "leave") {
    ranks.barrier();
    if (ranks.rank() == 1 && mode == "throw") throw std::runtime_error("rank 1 cannot read its rows");
    if (ranks.rank() == 1) return 0;
    ranks.barrier();
  } else if (mode == "large") {
    large(ranks, static_cast<size_t>(number));
  } else {
    throw std::invalid_argument("unknown mode " + mode);
  }
  ranks.finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "", argc > 2 ? std::atoll(argv[2]) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "duet-mpi-ranks: %s\n", error.what());
    return 1;
  }
}
