// What a page shows of many rows: drawn by the run's seed, the same on every machine.
#pragma once

#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace duet::report {

// 0 to count - 1 in an order of the seed's.
inline std::vector<int64_t> shuffled(int64_t count, uint64_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::mt19937_64 words(seed);
  for (size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[words() % left]);
  return order;
}

}  // namespace duet::report
