// What a page shows of a split beside its evaluation: what is confused with what, where the embeddings lie, what some
// queries find.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "trainer/evaluation.h"
#include "trainer/model.h"

namespace duet::report {

// Of each labelled query the class, against the class of the first item retrieved. The classes are the largest of the
// split, at most kMostClasses, ascending by id; one more row and column hold the others where there are some, and one
// more column the items without a label.
struct Confusion {
  static constexpr size_t kMostClasses = 20;
  std::vector<int32_t> classes;
  bool others = false, unlabelled = false;
  std::vector<std::vector<int64_t>> counts;
  int64_t queries = 0;  // the sum of all counts
};

// One query's first items, best first.
struct Example {
  int64_t query = 0;
  std::vector<int64_t> items;
  std::vector<float> scores;
};

// A direction each: A to V, V to A.
struct SplitMeasures {
  Evaluation evaluation;
  std::array<Confusion, 2> confusion;            // of labels that are classes, not sets of them
  std::array<std::vector<Example>, 2> examples;  // of the same rows
  // Rows that were drawn, the same pairs of both modalities; their points in the plane of both.
  std::vector<int64_t> projected;
  std::array<std::vector<std::array<float, 2>>, 2> points;
  std::array<double, 2> share = {0, 0};  // of the variance along each axis
  // Pictures of rows of one modality, as addresses; of the built-in digits alone.
  int picture_side = -1;
  std::map<int64_t, std::string> pictures;
};

// embeddings: unit rows of the split's modalities; row i of both is a pair. seed: of what is drawn. between: called
// before each part of the work; what it throws ends the call.
SplitMeasures measure(duet_context* context, const std::array<data::Features, data::kModalities>& embeddings,
                      const data::Split& split, const Evaluation& evaluation, uint64_t seed,
                      const std::function<void()>& between);
// Adds what the examples show of the built-in digits' test split, which was measured.
void add_pictures(SplitMeasures& measures, const std::array<std::string, data::kModalities>& modalities);

// By size, largest first; of equal ones the lower id. At most `most`.
std::vector<int32_t> largest_classes(const std::vector<int32_t>& labels, size_t most);

}  // namespace duet::report
