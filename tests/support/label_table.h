// A table of label sets as a call takes it, and as the reference does.
#pragma once

#include "tests/reference/label_sets.h"
#include "tests/support/arrays.h"

namespace duet::test {

struct LabelTable {
  reference::LabelSets sets;
  Ints words;

  // Classes below `classes`; padding: extra words after each row.
  LabelTable(const std::vector<std::set<int64_t>>& given, int64_t classes, int64_t padding = 0)
      : sets{given}, words(static_cast<int64_t>(given.size()), (classes + 31) / 32, padding) {
    words.fill(0);
    for (size_t s = 0; s < given.size(); ++s)
      for (const int64_t c : given[s]) {
        int32_t& word = words.at(static_cast<int64_t>(s), c / 32);
        word = static_cast<int32_t>(static_cast<uint32_t>(word) | 1u << (c % 32));
      }
  }
};

// Each of `labels` sets has a class, and each other class with this probability.
inline LabelTable draw_label_table(Draw& draw, int64_t labels, int64_t classes, double share, int64_t padding = 0) {
  std::vector<std::set<int64_t>> sets(static_cast<size_t>(labels));
  for (auto& set : sets) {
    set.insert(draw.integer(0, classes - 1));
    for (int64_t c = 0; c < classes; ++c)
      if (draw.uniform(0, 1) < share) set.insert(c);
  }
  return {sets, classes, padding};
}

}  // namespace duet::test
