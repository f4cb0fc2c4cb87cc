#include "runtime/arena.h"

#include <doctest/doctest.h>

#include <cstring>

using namespace duet;

TEST_CASE("arena hands out aligned pieces that do not overlap") {
  Arena arena(256);
  std::vector<std::pair<unsigned char*, size_t>> pieces;
  for (const size_t bytes : {0u, 1u, 64u, 65u, 200u, 1000u, 0u, 5000u}) {
    auto* piece = static_cast<unsigned char*>(arena.allocate(bytes));
    REQUIRE(piece != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(piece) % kAlignment == 0);
    std::memset(piece, static_cast<int>(pieces.size()), bytes);
    pieces.push_back({piece, bytes});
  }
  for (size_t k = 0; k < pieces.size(); ++k)
    for (size_t b = 0; b < pieces[k].second; ++b) REQUIRE(pieces[k].first[b] == k);
}

TEST_CASE("arena replays a step in the same places, a smaller one in the same memory") {
  Arena arena(128);
  const std::vector<size_t> first = {100, 700, 64, 3000, 10, 900, 20000, 1};
  const auto run = [&](size_t divisor) {
    arena.reset();
    std::vector<void*> places;
    for (const size_t bytes : first) places.push_back(arena.allocate(bytes / divisor));
    return places;
  };
  const std::vector<void*> places = run(1);
  const size_t capacity = arena.capacity();
  CHECK(run(1) == places);
  for (const size_t divisor : {1u, 2u, 3u, 7u, 1000u}) {
    run(divisor);
    CHECK(arena.capacity() == capacity);
  }
  CHECK(run(1) == places);
  CHECK(arena.capacity() == capacity);
}

TEST_CASE("the workspace grows to the largest request and stays") {
  GrowingBuffer buffer;
  CHECK(buffer.request(0) != nullptr);
  void* large = buffer.request(1000);
  CHECK(reinterpret_cast<uintptr_t>(large) % kAlignment == 0);
  CHECK(buffer.request(10) == large);
  CHECK(buffer.request(1000) == large);
  CHECK(buffer.request(1500) == large);  // room for tiles that a smaller batch chooses otherwise
  CHECK(buffer.capacity() >= 1500);
}
