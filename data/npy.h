// NumPy's .npy files, versions 1 to 3: little-endian floats of 2, 4 and 8 bytes and integers of 1 to 8, in C order
// unless the caller says otherwise. The reader works on memory: a file's bytes, or what is linked into the program.
// Every error is one line that names the file, what it holds and what was expected (DUET_STATUS_INVALID_ARGUMENT).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/features.h"
#include "runtime/files/file_bytes.h"

namespace duet::data {

enum class NpyType { f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8 };

// What a .npy file says and where its values lie; it owns nothing. The values need not be aligned to their type.
struct NpyView {
  std::string name;  // of the file, for messages
  NpyType type = NpyType::f4;
  std::vector<int64_t> shape;
  bool fortran_order = false;  // columns lie one after another
  std::span<const std::byte> values;
};

NpyView parse_npy(std::span<const std::byte> file, const std::string& name);

// A view with the file that it looks at; without one the values lie in memory that outlives it.
struct NpyFile {
  std::optional<FileBytes> file;
  NpyView view;
};

// DUET_STATUS_IO_ERROR where the system refuses the file.
NpyFile open_npy(const std::filesystem::path& path);

// A matrix in Fortran order is as often a transposed one by mistake as it is meant, so it is refused unless the caller
// asks for it.
enum class FortranOrder { refuse, accept };

// The values as they are, labels (-1: unlabelled) or groups: one-dimensional, at least one, whole numbers of 64 bits. A
// float is refused where its type no longer holds every whole number, for then two labels may have become one.
std::vector<int64_t> read_labels(const NpyView& view);
std::vector<int64_t> read_labels(const std::filesystem::path& path);

// The values rounded to float32, as features_header says of them; features that are to be scaled go through
// FeatureSource. Two-dimensional, at least one row and one column, every value finite in float32.
Features read_features(const NpyView& view, FortranOrder order = FortranOrder::refuse);
Features read_features(const std::filesystem::path& path, FortranOrder order = FortranOrder::refuse);

// The bytes of such a file before its values, which follow as they lie in memory.
std::string features_header(const Features& features);

}  // namespace duet::data
