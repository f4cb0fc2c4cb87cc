// What a loss over rows and columns gives: a value and some statistics for each of them. The strides are padded, each
// differently.
#pragma once

#include "tests/support/arrays.h"

namespace duet::test {

template <int kStatistics>
struct RowColumnLosses {
  Floats row, column, row_statistics, column_statistics;
  RowColumnLosses(int64_t n, int64_t m)
      : row(n, 1), column(m, 1), row_statistics(n, kStatistics, 1), column_statistics(m, kStatistics, 2) {}
  bool same_bits(const RowColumnLosses& o) const {
    return row.same_bits(o.row) && column.same_bits(o.column) && row_statistics.same_bits(o.row_statistics) &&
           column_statistics.same_bits(o.column_statistics);
  }
};

}  // namespace duet::test
