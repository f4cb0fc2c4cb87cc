// A file's bytes in memory of our own. They are read and not mapped from the file: a mapped file that someone truncates
// ends the reader by a signal.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace duet {

class FileBytes {
 public:
  // Throws DUET_STATUS_IO_ERROR, naming the file and the system's reason, where it cannot be opened or read, or changes
  // while it is read; std::bad_alloc where its bytes do not fit into memory.
  explicit FileBytes(const std::filesystem::path& path);
  ~FileBytes();
  FileBytes(FileBytes&& other) noexcept;
  FileBytes& operator=(FileBytes&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  FileBytes() = default;

  std::span<const std::byte> bytes_;
};

}  // namespace duet
