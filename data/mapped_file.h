// A file's bytes in memory of our own. They are read and not mapped from the file: a mapped file that someone truncates ends the reader by a signal.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace duet::data {

class MappedFile {
 public:
  // Throws DUET_IO_ERROR, naming the file and the system's reason, where it cannot be opened or read, or changes while it is read; std::bad_alloc
  // where its bytes do not fit into memory.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MappedFile() = default;

  std::span<const std::byte> bytes_;
};

}  // namespace duet::data
