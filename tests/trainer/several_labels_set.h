// Pairs of rows that have one to three of six classes, which their features show as a mixture.
#pragma once

#include <array>
#include <cmath>
#include <random>

#include "data/label_sets.h"
#include "tests/trainer/program.h"

namespace duet::testing {

inline constexpr int64_t kSeveralClasses = 6;

// Two factors a class, of which a row shows the sum over its classes, and noise. Every 20th training row is unlabelled.
inline data::Dataset several_labels_set(int64_t train_rows = 240, int64_t test_rows = 60) {
  constexpr int64_t kFactors = 2 * kSeveralClasses;
  std::mt19937 engine(5);  // its numbers are the same everywhere
  const auto number = [&] { return static_cast<double>(engine() >> 8) / (1 << 24); };
  const auto normal = [&] {
    double sum = -6;
    for (int k = 0; k < 12; ++k) sum += number();
    return sum;
  };
  data::Dataset set;
  set.modalities = {"audio", "visual"};
  const std::array<int64_t, 2> widths = {12, 20};
  std::array<std::vector<double>, 2> maps;
  for (size_t side = 0; side < 2; ++side)
    for (int64_t k = 0; k < kFactors * widths[side]; ++k) maps[side].push_back(normal());
  for (const auto& [split, rows] : {std::pair{&set.train, train_rows}, std::pair{&set.test, test_rows}}) {
    data::LabelSets all(kSeveralClasses, rows);
    for (size_t side = 0; side < 2; ++side) split->features[side] = data::Features(rows, widths[side]);
    for (int64_t i = 0; i < rows; ++i) {
      std::array<double, kFactors> factors;
      for (double& factor : factors) factor = 0.3 * normal();
      const auto count = 1 + static_cast<int64_t>(3 * number());
      for (int64_t k = 0; k < count; ++k) {
        const int64_t c = (i + k * k) % kSeveralClasses;
        if (split == &set.test || i % 20 != 19) all.put(i, c);
        factors[static_cast<size_t>(2 * c)] += 2;
        factors[static_cast<size_t>(2 * c + 1)] += 1;
      }
      for (size_t side = 0; side < 2; ++side)
        for (int64_t j = 0; j < widths[side]; ++j) {
          double value = 0.5 * normal();
          for (int64_t k = 0; k < kFactors; ++k)
            value += factors[static_cast<size_t>(k)] * maps[side][static_cast<size_t>(k * widths[side] + j)];
          split->features[side].row(i)[j] = static_cast<float>(value);
        }
    }
    data::SetLabels by_set = data::label_by_set(std::array{static_cast<const data::LabelSets*>(&all)});
    split->sets = std::move(by_set.sets);
    split->labels = std::move(by_set.labels[0]);
  }
  return set;
}

inline void write_several_labels_set(const fs::path& folder) { test::write_dataset(folder, several_labels_set()); }

}  // namespace duet::testing
