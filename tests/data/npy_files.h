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

template <class Array>
std::string raw(const Array& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values.data()[0])};
}

inline std::string npy_with_header(int version, const std::string& header, const std::string& values) {
  std::string out("\x93NUMPY", 6);
  out += static_cast<char>(version);
  out += '\0';
  for (int k = 0; k < (version == 1 ? 2 : 4); ++k) out += static_cast<char>(header.size() >> 8 * k & 255);
  return out + header + values;
}

inline std::string npy(const std::string& descr, const std::string& shape, const std::string& values, int version = 1) {
  return npy_with_header(version, "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n",
                         values);
}

inline std::span<const std::byte> bytes_of(const std::string& file) {
  return {reinterpret_cast<const std::byte*>(file.data()), file.size()};
}

class Folder {
 public:
  Folder() {
    static std::atomic<int> next{0};
    path_ = std::filesystem::temp_directory_path() /
            ("duet-data-test-" + std::to_string(::getpid()) + "-" + std::to_string(next++));
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

// body must throw Error with this status; its text, one line, must contain every part.
template <class Body>
void check_refused(Body&& body, duet_status status, const std::vector<std::string>& parts) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK_MESSAGE(error.status() == status, message);
    CHECK_MESSAGE(message.find('\n') == std::string::npos, message);
    for (const std::string& part : parts)
      CHECK_MESSAGE(message.find(part) != std::string::npos, '"' << message << "\" lacks \"" << part << '"');
    return;
  }
  FAIL_CHECK("nothing was thrown; expected a message with ", parts.empty() ? std::string() : parts[0]);
}

}  // namespace duet::test
