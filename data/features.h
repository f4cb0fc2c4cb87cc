// Features of one modality: a row a sample, float32, row-major without padding, owning.
#pragma once

#include <cstdint>

#include "data/values.h"
#include "kernels/core/view.h"

namespace duet::data {

struct Features {
  int64_t rows = 0, columns = 0;
  Values values;  // rows x columns

  Features() = default;
  Features(int64_t row_count, int64_t column_count)
      : rows(row_count),
        columns(column_count),
        values(static_cast<size_t>(row_count) * static_cast<size_t>(column_count)) {}

  float* row(int64_t i) { return values.data() + i * columns; }
  const float* row(int64_t i) const { return values.data() + i * columns; }
  duet_const_matrix view() const { return duet_f32_const_matrix(values.data(), rows, columns); }

  // Where the values lie in a file; nothing is done where they lie in memory.
  // Rows first to first + count - 1 have been written, and are not used for now.
  void settle(int64_t first, int64_t count) {
    if (PagedMemory* const file = values.paged()) file->settle(byte_of(first), byte_of(first + count));
  }
  // They have been read, and are not used for now.
  void release(int64_t first, int64_t count) const {
    if (const PagedMemory* const file = values.paged()) file->mapping().release(byte_of(first), byte_of(first + count));
  }
  // They will be read soon.
  void fetch(int64_t first, int64_t count) const {
    if (const PagedMemory* const file = values.paged()) file->mapping().fetch(byte_of(first), byte_of(first + count));
  }

 private:
  uint64_t byte_of(int64_t row) const {
    return static_cast<uint64_t>(row) * static_cast<uint64_t>(columns) * sizeof(float);
  }
};

}  // namespace duet::data
