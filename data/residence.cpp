#include "data/residence.h"

#include <utility>

namespace duet::data {

Residence::Residence(uint64_t most, std::filesystem::path folder) : most_(most), folder_(std::move(folder)) {}

Features Residence::features(int64_t rows, int64_t columns) {
  const uint64_t bytes = static_cast<uint64_t>(rows) * static_cast<uint64_t>(columns) * sizeof(float);
  if (bytes <= most_ - in_memory_) {
    in_memory_ += bytes;
    return Features(rows, columns);
  }
  Features out;
  out.rows = rows, out.columns = columns;
  out.values = Values(PagedMemory(bytes, folder_));
  in_files_ += bytes;
  return out;
}

}  // namespace duet::data
