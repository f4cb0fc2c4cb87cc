// How much of what this thread reads from files may lie in memory at once, for readers that nobody hands a limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "runtime/files/paged_memory.h"

namespace duet {

// While one lives, FileBytes of more than most bytes are mapped in place of read, and ReadBytes of more lie in a file
// in folder. The one before holds again after it; without any there is no limit.
class ReadingLimit {
 public:
  ReadingLimit(uint64_t most, std::filesystem::path folder);
  ~ReadingLimit();
  ReadingLimit(const ReadingLimit&) = delete;
  ReadingLimit& operator=(const ReadingLimit&) = delete;

  // The folder for more than the limit; null where so many bytes are within it.
  static const std::filesystem::path* folder_for(uint64_t bytes);

 private:
  uint64_t most_;
  std::filesystem::path folder_;
  const ReadingLimit* before_;
};

// Room for bytes that are made in order, zeros before.
class ReadBytes {
 public:
  // Errors: those of PagedMemory; std::bad_alloc.
  explicit ReadBytes(uint64_t bytes);

  std::span<std::byte> bytes() { return mapping() ? paged_.bytes() : std::span(own_); }
  // Null where they lie in memory.
  const Mapping* mapping() const { return paged_.mapping().size() > 0 ? &paged_.mapping() : nullptr; }
  // Those before this one are made.
  void made(uint64_t end);

 private:
  std::vector<std::byte> own_;
  PagedMemory paged_;
  uint64_t settled_ = 0;
};

}  // namespace duet
