#include "runtime/ranks/thread_ranks.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>

#include "kernels/core/error.h"
#include "tests/ranks/cases.h"

using namespace duet;
using namespace duet::test;

namespace {

// What each of size ranks' calls threw: body throws in some, the others' texts are what is looked at.
std::vector<std::string> texts_of(int size, const std::function<void(Ranks&)>& body, std::string& thrown) {
  std::vector<std::string> texts(static_cast<size_t>(size));
  const auto keep = [&](Ranks& ranks) {
    try {
      body(ranks);
    } catch (const std::exception& error) {
      texts[static_cast<size_t>(ranks.rank())] = error.what();
      throw;
    }
  };
  try {
    run_thread_ranks(size, keep);
  } catch (const std::exception& error) {
    thrown = error.what();
  }
  return texts;
}

}  // namespace

TEST_CASE("every call on 1 to 5 ranks, with the same results") {
  std::vector<std::string> expected;
  for (int size = 1; size <= 5; ++size) {
    CAPTURE(size);
    std::mutex mutex;
    int ended = 0;
    run_thread_ranks(size, [&](Ranks& ranks) {
      const std::vector<std::string> lines = run_rank_cases(ranks);
      const std::lock_guard lock(mutex);
      ++ended;
      if (expected.empty()) expected = lines;
      CHECK(lines == expected);
    });
    CHECK(ended == size);
  }
}

TEST_CASE("nobody passes a barrier before all have reached it") {
  std::atomic<int> reached = 0;
  std::atomic<bool> early = false;
  run_thread_ranks(4, [&](Ranks& ranks) {
    for (int round = 1; round <= 200; ++round) {
      ++reached;
      ranks.barrier();
      if (reached < 4 * round) early = true;
    }
  });
  CHECK(reached == 800);
  CHECK_FALSE(early);
}

TEST_CASE("an exception of one rank ends the waits of the others, which name it") {
  for (const int bad : {0, 2})
    for (const int call : {0, 1, 2}) {
      std::string thrown;
      const std::vector<std::string> texts = texts_of(
          4,
          [&](Ranks& ranks) {
            ranks.barrier();
            if (ranks.rank() == bad) throw std::runtime_error("no such file");
            std::vector<float> sum(5);
            const int64_t blocks = ranks.rank() == 3 ? 1 : 0;
            const float* node = sum.data();
            for (int repeat = 0; repeat < 2; ++repeat) {
              if (call == 0) ranks.barrier();
              if (call == 1) ranks.all_gather({});
              if (call == 2)
                ranks.all_reduce(RankSums{1, {0, blocks}, std::span(&node, static_cast<size_t>(blocks)), 5}, sum);
            }
          },
          thrown);
      CHECK(thrown == "no such file");
      for (int rank = 0; rank < 4; ++rank)
        CHECK(texts[static_cast<size_t>(rank)] ==
              (rank == bad ? "no such file" : "ranks: rank " + std::to_string(bad) + " has failed: no such file"));
    }
}

TEST_CASE("a rank that ends while others wait for it is named") {
  std::string thrown;
  const std::vector<std::string> texts = texts_of(
      3,
      [](Ranks& ranks) {
        if (ranks.rank() != 1) ranks.barrier();
      },
      thrown);
  CHECK(thrown == "ranks: rank 1 has ended");
  CHECK(texts == std::vector<std::string>{thrown, "", thrown});
}

TEST_CASE("arguments that one rank gets wrong are named, and the others do not wait for it") {
  std::vector<float> slice(3);
  const float* node = slice.data();
  const auto first = [](const std::function<void(Ranks&)>& call) {
    std::string thrown;
    texts_of(
        2,
        [&](Ranks& ranks) {
          if (ranks.rank() == 0) call(ranks);
          ranks.barrier();
        },
        thrown);
    return thrown;
  };
  const RankSums none{0, {}, {}, 4};
  CHECK(first([&](Ranks& ranks) { ranks.reduce_scatter(none, slice); }) == "slice: expected 2 floats, got 3");
  CHECK(first([&](Ranks& ranks) { ranks.all_reduce(none, slice); }) == "sum: expected 4 floats, got 3");
  CHECK(first([&](Ranks& ranks) {
          ranks.reduce_scatter({1, {0, 1}, {}, 6}, slice);
        }) == "nodes: expected 1 for blocks 0 to 1 of 1, got 0");
  CHECK(first([&](Ranks& ranks) {
          ranks.reduce_scatter({0, {}, std::span(&node, 1), 6}, slice);
        }) == "nodes: expected 0 for blocks 0 to 0 of 0, got 1");
  CHECK_THROWS_WITH_AS(run_thread_ranks(0, [](Ranks&) {}), "size: expected at least 1 rank, got 0", Error);

  std::string thrown;
  texts_of(
      1, [](Ranks& ranks) { ranks.all_gather(std::vector<std::byte>(4), std::span<std::byte>()); }, thrown);
  CHECK(thrown == "all: expected room for all ranks' 4 bytes, got 0");
}
