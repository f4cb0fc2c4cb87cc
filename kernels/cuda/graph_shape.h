// How long a graph is: the time of small kernels goes with the longest chain of them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace duet::cuda {

// The number of nodes on the longest path through an acyclic graph; an edge (a, b) says that node b, counted from 0,
// comes after node a.
inline int64_t longest_path(int64_t nodes, const std::vector<std::pair<int64_t, int64_t>>& edges) {
  std::vector<int64_t> lengths(static_cast<size_t>(nodes), 1);  // of the longest path that ends in a node
  int64_t longest = nodes > 0 ? 1 : 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [from, to] : edges) {
      const int64_t through = lengths[static_cast<size_t>(from)] + 1;
      if (through <= lengths[static_cast<size_t>(to)]) continue;
      lengths[static_cast<size_t>(to)] = through;
      longest = through > longest ? through : longest;
      changed = true;
    }
  }
  return longest;
}

}  // namespace duet::cuda
