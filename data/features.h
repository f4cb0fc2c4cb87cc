// Features of one modality: a row a sample, float32, row-major without padding, owning.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/view.h"

namespace duet::data {

struct Features {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;  // rows x columns

  Features() = default;
  Features(int64_t row_count, int64_t column_count)
      : rows(row_count),
        columns(column_count),
        values(static_cast<size_t>(row_count) * static_cast<size_t>(column_count)) {}

  float* row(int64_t i) { return values.data() + i * columns; }
  const float* row(int64_t i) const { return values.data() + i * columns; }
  duet_const_matrix view() const { return duet_f32_const_matrix(values.data(), rows, columns); }
};

}  // namespace duet::data
