// METHOD.md 2, the weights of positives with anchors in rows, in double, for tests alone.
#pragma once

#include <cstdint>
#include <vector>

namespace duet::reference {

// pos_ij = q^a_i . q^v_j t_j (n x m); paired: 1 for the own pair. class_a n x C, class_v m x C, trust m.
inline std::vector<double> positives(const std::vector<double>& class_a, const std::vector<double>& class_v, const std::vector<double>& trust,
                                     int64_t n, int64_t m, bool paired, int64_t first_row = 0, int64_t first_column = 0) {
  const int64_t classes = n > 0 ? static_cast<int64_t>(class_a.size()) / n : 0;
  std::vector<double> out(static_cast<size_t>(n * m));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      double w = 0;
      for (int64_t c = 0; c < classes; ++c) w += class_a[i * classes + c] * class_v[j * classes + c];
      out[i * m + j] = paired && first_row + i == first_column + j ? 1 : w * trust[j];
    }
  return out;
}

inline std::vector<double> transposed(const std::vector<double>& x, int64_t rows, int64_t columns) {
  std::vector<double> out(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[j * rows + i] = x[i * columns + j];
  return out;
}

}  // namespace duet::reference
