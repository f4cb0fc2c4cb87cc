// One tile of pairs as a formula (operation.h) sees it on the CPU, and where its sums go. Arrays that are indexed by
// the tile's columns begin at its first one and have room for padded(columns) elements.
#pragma once

#include "kernels/core/check.h"
#include "kernels/pairs/relation.h"

namespace duet::cpu {

struct PairTile {
  Matrix<const float> dots;  // a_i.v_j
  float scale;
  const int32_t *row_label, *row_group;        // tile rows
  const int32_t *column_label, *column_group;  // tile columns; row r reads the groups that begin r group_stride on
  int64_t group_stride;                        // 0: the same of all rows
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
