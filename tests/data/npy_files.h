// .npy files built byte by byte, sound ones and damaged ones, and a folder that goes when its test ends.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/error.h"

namespace duet::test {

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::string npy_with_header(int version, const std::string& header, const std::string& values) {
  std::string out("\x93NUMPY", 6);
  out += static_cast<char>(version);
  out += '\0';
  for (int k = 0; k < (version == 1 ? 2 : 4); ++k) out += static_cast<char>(header.size() >> 8 * k & 255);
  return out + header + values;
}

inline std::string npy(const std::string& descr, const std::string& shape, const std::string& values, int version = 1) {
  return npy_with_header(version, "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n", values);
}

inline std::span<const std::byte> bytes_of(const std::string& file) { return {reinterpret_cast<const std::byte*>(file.data()), file.size()}; }

class Folder {
 public:
  Folder() {
    static std::atomic<int> next{0};
    path_ = std::filesystem::temp_directory_path() / ("duet-data-test-" + std::to_string(::getpid()) + "-" + std::to_string(next++));
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }

 private:
  std::filesystem::path path_;
};

// A C-order copy of a data set some of whose f4 matrices are in Fortran order, which the reader refuses: the shared wikipedia is such a one.
inline void copy_in_c_order(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* const split : {"train", "test"}) {
    std::filesystem::create_directories(to / split);
    for (const auto& entry : std::filesystem::directory_iterator(from / split)) {
      if (entry.path().extension() != ".npy") continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::string file{std::istreambuf_iterator<char>(in), {}};
      const size_t start = 10 + static_cast<unsigned char>(file[8]) + 256u * static_cast<unsigned char>(file[9]);
      const std::string header = file.substr(10, start - 10);
      if (header.find("'fortran_order': True") != std::string::npos) {
        size_t rows = 0, columns = 0;
        REQUIRE(std::sscanf(header.c_str() + header.find("'shape'"), "'shape': (%zu, %zu)", &rows, &columns) == 2);
        REQUIRE(file.size() == start + rows * columns * sizeof(float));
        std::string values(rows * columns * sizeof(float), '\0');
        for (size_t i = 0; i < rows; ++i)
          for (size_t k = 0; k < columns; ++k)
            std::memcpy(&values[(i * columns + k) * sizeof(float)], &file[start + (k * rows + i) * sizeof(float)], sizeof(float));
        file = npy("<f4", duet::text("(", rows, ", ", columns, ")"), values);
      }
      std::ofstream(to / split / entry.path().filename(), std::ios::binary) << file;
    }
  }
}

// body must throw Error with this status; its text, one line, must contain every part.
template <class Body>
void check_refused(Body&& body, duet_status status, const std::vector<std::string>& parts) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK_MESSAGE(error.status() == status, message);
    CHECK_MESSAGE(message.find('\n') == std::string::npos, message);
    for (const std::string& part : parts) CHECK_MESSAGE(message.find(part) != std::string::npos, '"' << message << "\" lacks \"" << part << '"');
    return;
  }
  FAIL_CHECK("nothing was thrown; expected a message with ", parts.empty() ? std::string() : parts[0]);
}

}  // namespace duet::test
