#include "runtime/files/paged_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/core/error.h"

namespace duet {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& folder, uint64_t bytes, int reason) {
  throw Error(DUET_STATUS_OUT_OF_MEMORY,
              text(folder.string(), ": no room for a file of ", bytes, " bytes (", std::strerror(reason), ")"));
}

// A file without a name; errno where it is -1.
int make_file(const fs::path& folder) {
  const int made = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  // Kernels and file systems without O_TMPFILE say one of these.
  if (made >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)) return made;
  std::string pattern = (folder / ".duet-XXXXXX").string();
  const int named = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(pattern.c_str());
  return named;
}

}  // namespace

PagedMemory::PagedMemory(uint64_t bytes, const fs::path& folder) {
  if (bytes == 0) return;
  if (bytes > static_cast<uint64_t>(INT64_MAX)) refuse(folder, bytes, EFBIG);
  descriptor_ = make_file(folder);
  if (descriptor_ < 0) refuse(folder, bytes, errno);
  try {
    // The whole room at once: a page that finds none when it is written would end the program.
    int reason = 0;
    while ((reason = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes))) == EINTR) {
    }
    if (reason != 0) refuse(folder, bytes, reason);
    mapping_ = Mapping(descriptor_, 0, bytes, true,
                       text(folder.string(), ": a file of ", bytes, " bytes cannot be read or written any more"));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

PagedMemory::~PagedMemory() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

PagedMemory::PagedMemory(PagedMemory&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      mapping_(std::move(other.mapping_)),
      under_way_begin_(std::exchange(other.under_way_begin_, 0)),
      under_way_end_(std::exchange(other.under_way_end_, 0)) {}

PagedMemory& PagedMemory::operator=(PagedMemory&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(mapping_, other.mapping_);
  std::swap(under_way_begin_, other.under_way_begin_);
  std::swap(under_way_end_, other.under_way_end_);
  return *this;
}

void PagedMemory::settle(uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  const auto write = [this](uint64_t from, uint64_t to, unsigned flags) {
    // Advice: what cannot be followed here is done when the system needs the room.
    ::sync_file_range(descriptor_, static_cast<off_t>(from), static_cast<off_t>(to - from), flags);
  };
  write(begin, end, SYNC_FILE_RANGE_WRITE);
  if (under_way_begin_ < under_way_end_)
    write(under_way_begin_, under_way_end_,
          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  under_way_begin_ = begin, under_way_end_ = end;
  mapping_.release(begin, end);
}

bool lies_in_memory(const fs::path& folder) {
  struct statfs facts {};
  return ::statfs(folder.c_str(), &facts) == 0 && (static_cast<unsigned long>(facts.f_type) == TMPFS_MAGIC ||
                                                   static_cast<unsigned long>(facts.f_type) == RAMFS_MAGIC);
}

fs::path temporary_folder() {
  if (const char* const chosen = std::getenv("TMPDIR"); chosen && *chosen) return chosen;
  return lies_in_memory("/tmp") ? "/var/tmp" : "/tmp";
}

}  // namespace duet
