#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "data/npy.h"
#include "kernels/core/error.h"

namespace duet::data {
namespace {

// What stands before the values of a version 1 file.
std::string npy_start(const char* descr, const std::string& shape) {
  std::string header = text("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, ", }");
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10, ' ');  // values start at a multiple of 64 bytes
  header.back() = '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 255);
  start += static_cast<char>(header.size() >> 8);
  return start + header;
}

// Writes beside the final name and renames: a full disk leaves no half file behind.
void write_npy(const std::filesystem::path& path, const std::string& start, const void* values, size_t bytes) {
  const std::filesystem::path partial = path.string() + ".part" + std::to_string(::getpid());
  const auto refuse = [&](int reason) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    throw Error(DUET_IO_ERROR, text(path.string(), ": cannot write: ", std::generic_category().message(reason)));
  };
  std::FILE* const file = std::fopen(partial.c_str(), "wb");
  if (file == nullptr) refuse(errno);
  const bool written = std::fwrite(start.data(), 1, start.size(), file) == start.size() && std::fwrite(values, 1, bytes, file) == bytes &&
                       std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
  const int reason = errno;
  if (std::fclose(file) != 0) refuse(errno);
  if (!written) refuse(reason);
  std::error_code renamed;
  std::filesystem::rename(partial, path, renamed);
  if (renamed) refuse(renamed.value());
}

}  // namespace

std::string features_header(const Features& features) { return npy_start("<f4", text("(", features.rows, ", ", features.columns, ")")); }

void write_features(const std::filesystem::path& path, const Features& features) {
  write_npy(path, features_header(features), features.values.data(), features.values.size() * sizeof(float));
}

void write_labels(const std::filesystem::path& path, std::span<const int32_t> labels) {
  write_npy(path, npy_start("<i4", text("(", labels.size(), ",)")), labels.data(), labels.size_bytes());
}

void write_labels(const std::filesystem::path& path, std::span<const int64_t> labels) {
  write_npy(path, npy_start("<i8", text("(", labels.size(), ",)")), labels.data(), labels.size_bytes());
}

}  // namespace duet::data
