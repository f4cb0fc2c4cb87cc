// What is mined from rows of distances (METHOD.md 3): shared by the mining calls and the triplet loss, which stores no list.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/core/check.h"

namespace duet::cpu {

// Rows whose distances to all columns are held at once, by one thread: fewer where a row is long, so that this stays below 16 MB.
constexpr int64_t rows_at_once(int64_t m) { return m <= (1 << 17) ? 32 : m <= (1 << 19) ? 8 : 2; }

// The best positives and negatives so far, of rows or of columns: distance NaN and index -1 where there is none.
struct HardState {
  float *positive_distance = nullptr, *negative_distance = nullptr;
  int32_t *positive = nullptr, *negative = nullptr;

  static HardState take(Workspace& workspace, int64_t size) {
    return {workspace.take<float>(size), workspace.take<float>(size), workspace.take<int32_t>(size), workspace.take<int32_t>(size)};
  }
  HardState at(int64_t k) const { return {positive_distance + k, negative_distance + k, positive + k, negative + k}; }
  void clear(int64_t size) const;
  // Takes in what comes later in index order.
  void merge(int64_t k, const HardState& later, int64_t of) const;
};

// Updates rows and columns (neither, where its pointers are null) with a tile's distances; row i has index first_row + i, column j likewise.
void mine_hard_tile(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row, int64_t first_column,
                    const HardState& rows, const HardState& columns);

// A distance and its column as one integer, in order of (distance, column). Distances are never negative; NaN sorts last.
inline uint64_t sort_key(float distance, int64_t column) {
  return static_cast<uint64_t>(std::bit_cast<uint32_t>(distance) & 0x7FFFFFFFu) << 32 | static_cast<uint32_t>(column);
}
inline float key_distance(uint64_t key) { return std::bit_cast<float>(static_cast<uint32_t>(key >> 32)); }
inline int64_t key_column(uint64_t key) { return static_cast<int64_t>(key & 0xFFFFFFFFu); }
void sort_keys(uint64_t* keys, int64_t count);

// The first of sorted keys whose distance exceeds this; count where there is none.
int64_t first_beyond(const uint64_t* keys, int64_t count, float distance);

// body(p, n) for every positive p of a row in order, n the nearest negative with D_p < D_n < fl(D_p + margin) or -1. keys: m.
template <class Body>
void mine_semihard_row(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, float margin, uint64_t* keys, Body&& body) {
  if (label < 0) return;
  int64_t count = 0;
  for (int64_t j = 0; j < m; ++j)
    if (labels_y[j] >= 0 && labels_y[j] != label && !std::isnan(distances[j])) keys[count++] = sort_key(distances[j], j);
  sort_keys(keys, count);
  for (int64_t p = 0; p < m; ++p) {
    if (labels_y[p] != label) continue;
    const int64_t at = std::isnan(distances[p]) ? count : first_beyond(keys, count, distances[p]);
    const bool found = at < count && key_distance(keys[at]) < distances[p] + margin;
    body(p, found ? key_column(keys[at]) : int64_t{-1});
  }
}

// distance_weighted's draws for one anchor.
struct RowDraw {
  uint64_t seed;
  uint32_t step;
  int64_t slots;
  int64_t dimension;
  uint64_t first_element;  // global index of the anchor times M plus that of the first column
};
struct DrawScratch {
  double* log_weight;  // m
  uint32_t* words;     // m
  static DrawScratch take(Workspace& workspace, int64_t m) { return {workspace.take<double>(m), workspace.take<uint32_t>(m)}; }
};
// negatives: slots indices, -1 for none. euclidean: the row's Euclidean distances.
void draw_negatives(const float* euclidean, int32_t label, const int32_t* labels_y, int64_t m, const RowDraw& draw, const DrawScratch& scratch,
                    int32_t* negatives);

}  // namespace duet::cpu
