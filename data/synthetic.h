// A data set with a known structure at any size, for scale tests. A pair has hidden factors: its class's centre plus
// its own deviation, which both modalities share. Each modality shows them through a fixed random two-layer map
// together with factors of its own that the other never sees, and adds noise to every value. Every number is a function
// of (seed, split, row, column), so rows do not depend on how many there are.
#pragma once

#include <array>
#include <cstdint>

#include "data/dataset.h"

namespace duet::data {

// Stream of the generator: step 0 the maps and centres, 1 the training rows, 2 the test rows.
inline constexpr uint32_t kStreamSynthetic = 8;

struct SyntheticOptions {
  int64_t train_rows = 2000, test_rows = 400;
  int32_t classes = 10;
  std::array<int64_t, kModalities> widths = {64, 96};
  int64_t factors = 16;      // hidden factors that both modalities show
  int64_t own_factors = 8;   // factors of each modality alone
  double class_spread = 1;   // deviation of the class centres
  double pair_spread = 0.7;  // deviation of a pair about its class
  double own_spread = 0.7;   // deviation of a modality's own factors
  double noise = 0.3;        // deviation of the noise on every value
  double unlabelled = 0;     // share of the training rows with label -1
  uint64_t seed = 0;
};

// Modalities "audio" and "visual"; classes in turn, row i has class i mod classes. Errors:
// DUET_STATUS_INVALID_ARGUMENT.
Dataset synthetic_dataset(const SyntheticOptions& options);

}  // namespace duet::data
