// Where the features of a data set lie: in memory as long as they fit into what they are given, the others in files
// that are used as memory. Their values are the same in both.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/features.h"

namespace duet::data {

class Residence {
 public:
  Residence() = default;  // all in memory
  // most: bytes of features in memory; folder: where the files of the others lie.
  Residence(uint64_t most, std::filesystem::path folder);

  // Zeros. Each that still fits lies in memory. Errors: those of PagedMemory.
  Features features(int64_t rows, int64_t columns);

  uint64_t most() const { return most_; }
  const std::filesystem::path& folder() const { return folder_; }
  // Bytes of what features() has made: all, and those in files.
  uint64_t bytes() const { return in_memory_ + in_files_; }
  uint64_t bytes_in_files() const { return in_files_; }

 private:
  uint64_t most_ = UINT64_MAX;
  std::filesystem::path folder_;
  uint64_t in_memory_ = 0, in_files_ = 0;
};

}  // namespace duet::data
