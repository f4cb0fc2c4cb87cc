// METHOD.md 2's labels that stand for sets of classes, for tests alone.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

namespace duet::reference {

// The classes of each label; empty: a label is a class.
struct LabelSets {
  std::vector<std::set<int64_t>> classes;

  bool has(int32_t label) const { return label >= 0 && static_cast<size_t>(label) < classes.size(); }
  const std::set<int64_t>& of(int32_t label) const { return classes[static_cast<size_t>(label)]; }
  bool alike(int32_t a, int32_t b) const {
    if (a < 0 || b < 0) return false;
    if (a == b) return true;
    if (!has(a) || !has(b)) return false;
    for (const int64_t c : of(a))
      if (of(b).count(c) > 0) return true;
    return false;
  }
};

}  // namespace duet::reference
