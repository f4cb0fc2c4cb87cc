// A file's bytes in memory of our own. They are read and not mapped from the file, for a mapped file that someone
// truncates ends the reader by a signal (mapping.h); but for those that are beyond a ReadingLimit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "runtime/files/mapping.h"

namespace duet {

class FileBytes {
 public:
  // Throws DUET_STATUS_IO_ERROR, naming the file and the system's reason, where it cannot be opened or read, or changes
  // while it is read; std::bad_alloc where its bytes do not fit into memory. Those of a mapped file are what it holds
  // when they are used.
  explicit FileBytes(const std::filesystem::path& path);
  // length bytes from offset on, all of which must be there.
  FileBytes(const std::filesystem::path& path, uint64_t offset, uint64_t length);
  ~FileBytes();
  FileBytes(FileBytes&& other) noexcept;
  FileBytes& operator=(FileBytes&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }
  // Of the whole file, when it was read.
  uint64_t file_size() const { return file_size_; }
  // Null where they were read.
  const Mapping* mapping() const { return mapping_.size() > 0 ? &mapping_ : nullptr; }

 private:
  FileBytes() = default;

  void read(const std::filesystem::path& path, std::optional<std::pair<uint64_t, uint64_t>> part);

  Mapping mapping_;
  std::span<const std::byte> bytes_;
  uint64_t file_size_ = 0;
};

}  // namespace duet
