// Memory that lies in a file of its own, which has no name and vanishes with it: under pressure the system writes its
// pages to the disk and takes them back, where ordinary memory would end the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "runtime/files/mapping.h"

namespace duet {

class PagedMemory {
 public:
  PagedMemory() = default;
  // Zeros, in a file in folder, with its room on the disk taken. Throws DUET_STATUS_OUT_OF_MEMORY, naming folder, bytes
  // and the system's reason, where the file cannot be made or the disk lacks the room; std::bad_alloc.
  PagedMemory(uint64_t bytes, const std::filesystem::path& folder);
  ~PagedMemory();
  PagedMemory(PagedMemory&& other) noexcept;
  PagedMemory& operator=(PagedMemory&& other) noexcept;

  std::span<std::byte> bytes() const { return {mapping_.data(), mapping_.size()}; }
  const Mapping& mapping() const { return mapping_; }

  // Bytes begin to end - 1 were written, and are not used for now: they go to the disk, and out of the process's
  // memory. Of parts that come one after another the system writes one while the next is made.
  void settle(uint64_t begin, uint64_t end);

 private:
  int descriptor_ = -1;
  Mapping mapping_;
  uint64_t under_way_begin_ = 0, under_way_end_ = 0;  // what the system was told to write last
};

// A folder of the system's for such files: $TMPDIR, else /tmp or, where that lies in memory, /var/tmp.
std::filesystem::path temporary_folder();
// Whether files in this folder lie in memory (tmpfs).
bool lies_in_memory(const std::filesystem::path& folder);

}  // namespace duet
