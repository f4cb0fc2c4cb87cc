// What is mined from rows of distances (METHOD.md 3): shared by the mining calls and the triplet loss, which stores no list.
#pragma once

#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/mining/row_sort.h"

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

// What semihard needs of a row of m columns.
struct SemihardScratch {
  float* distances;  // of the columns that take part
  int32_t* columns;  // theirs
  uint64_t* keys;    // sorted
  int32_t* nearest;  // of each column: the nearest negative beyond it, or -1
  RowSorter sorter;

  SemihardScratch(Workspace& workspace, int64_t m);
};

// Fills scratch.nearest of the positives of a row: the negative with the least D_n > D_p, the lowest index of equals; -1 for none.
void find_nearest_beyond(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, const SemihardScratch& scratch);

// body(p, n) for every positive p of a row in order, n the nearest negative with D_p < D_n < fl(D_p + margin) or -1.
template <class Body>
void mine_semihard_row(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, float margin, const SemihardScratch& scratch,
                       Body&& body) {
  if (label < 0) return;
  find_nearest_beyond(distances, label, labels_y, m, scratch);
  for (int64_t p = 0; p < m; ++p) {
    if (labels_y[p] != label) continue;
    const int64_t n = scratch.nearest[p];
    body(p, n >= 0 && distances[n] < distances[p] + margin ? n : int64_t{-1});
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
  uint32_t* words;     // m and whole groups of blocks

  DrawScratch(Workspace& workspace, int64_t m);
};
// negatives: slots indices, -1 for none. euclidean: the row's Euclidean distances.
void draw_negatives(const float* euclidean, int32_t label, const int32_t* labels_y, int64_t m, const RowDraw& draw, const DrawScratch& scratch,
                    int32_t* negatives);

}  // namespace duet::cpu
