// What is mined from rows of distances (METHOD.md 3): shared by the mining calls and the triplet loss, which stores no
// list.
#pragma once

#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/mining/row_sort_cpu.h"
#include "kernels/pairs/relation.h"

namespace duet::cpu {

// to[k]: the PairKind of row i with column first + k, of count columns. What mines a row labelled kAlike by such labels
// mines by groups, own pairs and sets.
void write_relation(const RelationNumbers& numbers, int64_t i, int64_t first, int64_t count, int32_t* to);

// What the pairs of a row are mined by: the labels as they are given, or its relation where they do not say it all.
struct RowLabels {
  int32_t row;
  const int32_t* columns;  // m
};
class RowRelations {
 public:
  RowRelations(Workspace& workspace, int64_t threads, const RelationNumbers& numbers, int64_t m)
      : numbers_(numbers), written_(workspace.take_matrix<int32_t>(numbers.related() ? threads : 0, m)) {}

  // Until the thread's next call.
  RowLabels of(int64_t i, int thread) const {
    if (!numbers_.related()) return {numbers_.labels_x[i], numbers_.labels_y};
    return {kAlike, write(i, thread)};
  }
  // The relation itself, where numbers are related().
  int32_t* write(int64_t i, int thread) const {
    write_relation(numbers_, i, 0, written_.columns, written_.row(thread));
    return written_.row(thread);
  }

 private:
  RelationNumbers numbers_;
  Matrix<int32_t> written_;  // a row for each thread
};

// Rows whose distances to all columns are held at once, by one thread: fewer where a row is long, so that this stays
// below 16 MB.
constexpr int64_t rows_at_once(int64_t m) { return m <= (1 << 17) ? 32 : m <= (1 << 19) ? 8 : 2; }

// The best positives and negatives so far, of rows or of columns: distance NaN and index -1 where there is none.
struct HardState {
  float *positive_distance = nullptr, *negative_distance = nullptr;
  int32_t *positive = nullptr, *negative = nullptr;

  static HardState take(Workspace& workspace, int64_t size) {
    return {workspace.take<float>(size), workspace.take<float>(size), workspace.take<int32_t>(size),
            workspace.take<int32_t>(size)};
  }
  HardState at(int64_t k) const { return {positive_distance + k, negative_distance + k, positive + k, negative + k}; }
  void clear(int64_t size) const;
  // Takes in what comes later in index order.
  void merge(int64_t k, const HardState& later, int64_t of) const;
};

// Updates rows and columns (neither, where its pointers are null) with a tile's distances; row i has index first_row +
// i, column j likewise.
void mine_hard_tile(Matrix<const float> distances, const int32_t* labels_x, const int32_t* labels_y, int64_t first_row,
                    int64_t first_column, const HardState& rows, const HardState& columns);
// The same by the relation of each row (write_relation).
void mine_hard_tile(Matrix<const float> distances, Matrix<const int32_t> relation, int64_t first_row,
                    int64_t first_column, const HardState& rows, const HardState& columns);

// What semihard needs of a row of m columns.
struct SemihardScratch {
  int32_t *positives, *nearest;  // columns, in order, and of each the negative it is mined with, or -1
  float* distances;              // of the negatives that may be
  int32_t* columns;              // theirs
  uint64_t* keys;                // theirs
  RowSorter sorter;

  SemihardScratch(Workspace& workspace, int64_t m);
};

// Fills scratch.positives and scratch.nearest, the negative with the least D_p < D_n < fl(D_p + margin), the lowest
// index of equals; -1 for none. Returns the number of positives.
int64_t find_semihard(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, float margin,
                      const SemihardScratch& scratch);

// body(p, n) for every positive p of a row in order, n the nearest negative with D_p < D_n < fl(D_p + margin) or -1.
template <class Body>
void mine_semihard_row(const float* distances, int32_t label, const int32_t* labels_y, int64_t m, float margin,
                       const SemihardScratch& scratch, Body&& body) {
  if (label < 0) return;
  const int64_t positives = find_semihard(distances, label, labels_y, m, margin, scratch);
  for (int64_t k = 0; k < positives; ++k) body(int64_t{scratch.positives[k]}, int64_t{scratch.nearest[k]});
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
  float *log_weight, *bound;  // m and a vector: of log p, and of log p - log(-log u)
  uint32_t* words;            // m and whole groups of blocks

  DrawScratch(Workspace& workspace, int64_t m);
};
// negatives: slots indices, -1 for none. euclidean: the row's Euclidean distances.
void draw_negatives(const float* euclidean, int32_t label, const int32_t* labels_y, int64_t m, const RowDraw& draw,
                    const DrawScratch& scratch, int32_t* negatives);

}  // namespace duet::cpu
