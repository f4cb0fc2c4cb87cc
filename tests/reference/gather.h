// METHOD.md has no formula for gather: a row is a row. In double, for tests alone.
#pragma once

#include <cstdint>
#include <vector>

namespace duet::reference {

inline std::vector<double> gather(const std::vector<double>& source, int64_t columns,
                                  const std::vector<int64_t>& indices) {
  std::vector<double> rows;
  for (const int64_t index : indices)
    rows.insert(rows.end(), source.begin() + index * columns, source.begin() + (index + 1) * columns);
  return rows;
}

}  // namespace duet::reference
