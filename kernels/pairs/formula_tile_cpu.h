// One tile of pairs as a formula (operation.h) sees it on the CPU, and where its sums go. Arrays that are indexed by
// the tile's columns begin at its first one and have room for padded(columns) elements.
#pragma once

#include "kernels/core/check.h"

namespace duet::cpu {

// Labels and groups are numbers; of two sides' rows the same number is the same label or group, so what has none has a
// number of its own side below 0.
inline constexpr int32_t kNoneOfRow = -1, kNoneOfColumn = -2;

struct PairTile {
  Matrix<const float> dots;  // a_i.v_j
  float scale;
  const int32_t *row_label, *row_group;        // tile rows
  const int32_t *column_label, *column_group;  // tile columns
  int64_t own_offset;                          // row r and column r + own_offset are an own pair
  bool exclude_own;
};

// A row's (or column's) sums are stride apart.
struct PairSums {
  float* sum;
  int64_t stride;
};

inline constexpr int kMostStatistics = 3;

struct PairStatistics {
  Matrix<const float> rows;               // tile rows x statistics
  const float* columns[kMostStatistics];  // tile columns each
};

}  // namespace duet::cpu
