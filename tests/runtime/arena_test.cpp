#include "runtime/arena.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "tests/support/arrays.h"

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

TEST_CASE("clearing takes every byte that was handed out, and no other") {
  Arena arena(128);
  std::vector<std::pair<unsigned char*, size_t>> pieces;
  for (const size_t bytes : {100u, 700u, 64u, 3000u})
    pieces.push_back({static_cast<unsigned char*>(arena.allocate(bytes)), bytes});
  const auto dirty = [&] {
    for (const auto& [data, bytes] : pieces) std::memset(data, 0xa5, bytes);
  };
  const auto all_are = [&](size_t piece, int value) {
    const auto& [data, bytes] = pieces[piece];
    return std::all_of(data, data + bytes, [&](unsigned char byte) { return byte == value; });
  };
  dirty();
  arena.clear(nullptr);
  for (size_t k = 0; k < pieces.size(); ++k) CHECK(all_are(k, 0));
  dirty();
  arena.reset();
  arena.clear(nullptr);  // nothing is handed out
  for (size_t k = 0; k < pieces.size(); ++k) CHECK(all_are(k, 0xa5));
  REQUIRE(arena.allocate(100) == pieces[0].first);
  REQUIRE(arena.allocate(700) == pieces[1].first);
  arena.clear(nullptr);
  CHECK((all_are(0, 0) && all_are(1, 0) && all_are(3, 0xa5)));
}

TEST_CASE("a joined arena holds the same requests in one piece") {
  Arena arena(128);
  const std::vector<size_t> requests = {100, 700, 64, 3000, 10, 900};
  const auto run = [&] {
    std::vector<unsigned char*> places;
    for (const size_t bytes : requests) places.push_back(static_cast<unsigned char*>(arena.allocate(bytes)));
    return places;
  };
  run();
  const size_t capacity = arena.capacity();
  arena.join();
  CHECK(arena.capacity() == capacity);
  const std::vector<unsigned char*> places = run();
  for (size_t k = 0; k + 1 < places.size(); ++k)
    CHECK(places[k + 1] == places[k] + (requests[k] + kAlignment - 1) / kAlignment * kAlignment);
  CHECK(arena.capacity() == capacity);
  arena.join();  // one piece already: it stays where it is
  CHECK(run() == places);
  Arena empty;
  empty.join();
  CHECK(empty.capacity() == 0);
}

TEST_CASE("an arena of a context takes the context's memory") {
  duet::test::Context context(1);
  Arena arena(256, context);
  auto* first = static_cast<unsigned char*>(arena.allocate(300));
  auto* second = static_cast<unsigned char*>(arena.allocate(5000));
  std::memset(first, 1, 300), std::memset(second, 2, 5000);
  CHECK(reinterpret_cast<uintptr_t>(second) % kAlignment == 0);
  arena.clear(context);
  CHECK((first[0] == 0 && first[299] == 0 && second[0] == 0 && second[4999] == 0));
  const Arena moved = std::move(arena);
  CHECK(moved.capacity() >= 5300);
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
