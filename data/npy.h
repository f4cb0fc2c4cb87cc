// NumPy's .npy files, versions 1 to 3: little-endian f2, f4, f8, u1, i4, i8, in C order unless the caller says otherwise. The reader works on memory,
// mapped from a file or linked into the program. Every error is one line that names the file, what it holds and what was expected
// (DUET_INVALID_ARGUMENT).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/features.h"

namespace duet::data {

enum class NpyType { f2, f4, f8, u1, i4, i8 };

// What a .npy file says and where its values lie; it owns nothing. The values need not be aligned to their type.
struct NpyView {
  std::string name;  // of the file, for messages
  NpyType type = NpyType::f4;
  std::vector<int64_t> shape;
  bool fortran_order = false;  // columns lie one after another
  std::span<const std::byte> values;
};

NpyView parse_npy(std::span<const std::byte> file, const std::string& name);

// A matrix in Fortran order is as often a transposed one by mistake as it is meant, so it is refused unless the caller asks for it.
enum class FortranOrder { refuse, accept };

// The values as float32 features: two-dimensional, at least one row and one column, every value finite in float32.
Features read_features(const NpyView& view, FortranOrder order = FortranOrder::refuse);
// The values as labels: one-dimensional, at least one, whole numbers from -1 (unlabelled) to kLargestLabel.
std::vector<int32_t> read_labels(const NpyView& view);
// A class is a column of the classifier and of every agreement matrix: a label beyond this is a damaged or misread file.
inline constexpr int32_t kLargestLabel = 65535;

// The same from a file; DUET_IO_ERROR where the system refuses it.
Features read_features(const std::filesystem::path& path, FortranOrder order = FortranOrder::refuse);
std::vector<int32_t> read_labels(const std::filesystem::path& path);

// Write version 1 files, f4 and i4; DUET_IO_ERROR where the system refuses. They never leave half a file under the final name.
void write_features(const std::filesystem::path& path, const Features& features);
void write_labels(const std::filesystem::path& path, std::span<const int32_t> labels);

}  // namespace duet::data
