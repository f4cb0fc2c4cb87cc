// NumPy's .npy files, versions 1 to 3: floats of 2, 4 and 8 bytes, integers of 1 to 8, truth values and strings of
// fixed width, of either byte order, in C or Fortran order. The reader works on memory: a file's bytes, or what is
// linked into the program.
// Every error is one line that names the file, what it holds and what was expected (DUET_STATUS_INVALID_ARGUMENT).
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "data/features.h"
#include "data/stored_array.h"

namespace duet::data {

ArrayView parse_npy(std::span<const std::byte> file, const std::string& name);

// DUET_STATUS_IO_ERROR where the system refuses the file.
StoredArray open_npy(const std::filesystem::path& path);

// The values rounded to float32, as features_header says of them; features that are to be scaled go through
// FeatureSource. Two-dimensional, at least one row and one column, every value finite in float32.
Features read_features(const ArrayView& view);
Features read_features(const std::filesystem::path& path);

// The bytes of such a file before its values, which follow as they lie in memory.
std::string features_header(const Features& features);
// The same for values of any type in C order; descr: as NumPy writes the type, "<f4".
std::string npy_header(const std::string& descr, const std::vector<int64_t>& shape);

}  // namespace duet::data
