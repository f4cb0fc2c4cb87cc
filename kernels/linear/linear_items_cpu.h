// The work items of a layer on the CPU: parts of an output, at most 264 x 64 or 528 x 64, and what is too little for
// two threads.
#pragma once

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace duet::cpu {

// A layer of fewer operations takes about 20 us on one core, and a second core gains nothing.
inline constexpr double kSmallLayer = 2e6;   // floating-point operations
inline constexpr int64_t kItemColumns = 64;  // whole panels; 128 x 64 x 256 takes 40 us
inline constexpr int64_t kBlockRows = 12;    // one block of rows, or two of the 6 rows that narrower vectors use
inline constexpr int64_t kItemRows = 22 * kBlockRows;

// Rows of an item of the weight's gradient. An item packs 64 columns of the batch, so a high one packs less often; a
// narrow gradient has too few columns to give every thread one.
inline int64_t weight_item_rows(int64_t columns) { return columns >= 8 * kItemColumns ? 2 * kItemRows : kItemRows; }

inline double layer_operations(int64_t a, int64_t b, int64_t c) {
  return 2.0 * static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

// The parts of an output, rows x columns.
struct LayerItems {
  int64_t rows, columns, tall = kItemRows;

  int64_t down() const { return columns ? ceil_div(rows, tall) : 0; }
  int64_t count() const { return down() * ceil_div(columns, kItemColumns); }
  // Calls body(first_row, rows, first_column, columns) for one item.
  template <class Body>
  void visit(int64_t item, Body&& body) const {
    const int64_t i = item % down() * tall, j = item / down() * kItemColumns;
    body(i, std::min(tall, rows - i), j, std::min(kItemColumns, columns - j));
  }
};

// Calls body(item, thread), over the threads where there is work for them.
template <class Body>
void for_each_layer_item(const duet_context& context, double work, int64_t count, Body&& body) {
  if (work >= kSmallLayer) return parallel_for(context, count, body);
  for (int64_t item = 0; item < count; ++item) body(item, 0);
}

}  // namespace duet::cpu
