// Elementwise work on matrices is cut into runs of neighbouring elements. A matrix whose rows follow each other without
// a gap is one run before it is cut.
#pragma once

#include "kernels/core/check.h"
#include "kernels/cpu/parallel.h"

namespace duet::cpu {

template <class T>
bool contiguous(Matrix<T> x) {
  return x.stride == x.columns || x.rows <= 1;
}

// Calls body(i, j, count) for runs (i, j) ... (i, j + count - 1) that cover rows x columns once, about chunk elements a
// work item. flat: every matrix that body reads is contiguous; then i is 0 and j runs over rows * columns. A problem of
// at most chunk elements stays on one thread.
template <class Body>
void for_each_run(const duet_context& context, int64_t rows, int64_t columns, bool flat, int64_t chunk, Body&& body) {
  if (rows == 0 || columns == 0) return;
  if (flat) columns *= rows, rows = 1;
  const int64_t rows_an_item = std::max<int64_t>(1, chunk / columns), pieces = ceil_div(columns, chunk);
  parallel_for(context, ceil_div(rows, rows_an_item) * pieces, [&](int64_t item, int) {
    const int64_t first = item / pieces * rows_an_item, j = item % pieces * chunk;
    for (int64_t i = first; i < std::min(rows, first + rows_an_item); ++i) body(i, j, std::min(chunk, columns - j));
  });
}

}  // namespace duet::cpu
