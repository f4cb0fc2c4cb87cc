#include "runtime/files/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "kernels/core/error.h"
#include "runtime/files/reading_limit.h"

namespace duet {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, int reason) {
  throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": ", std::generic_category().message(reason)));
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

}  // namespace

FileBytes::FileBytes(const std::filesystem::path& path) : FileBytes() { read(path, std::nullopt); }

FileBytes::FileBytes(const std::filesystem::path& path, uint64_t offset, uint64_t length) : FileBytes() {
  read(path, std::pair(offset, length));
}

// part: offset and length; none: all of it.
void FileBytes::read(const std::filesystem::path& path, std::optional<std::pair<uint64_t, uint64_t>> part) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.number < 0) refuse(path, errno);
  struct stat before = {}, after = {};
  if (::fstat(file.number, &before) != 0) refuse(path, errno);
  if (S_ISDIR(before.st_mode)) refuse(path, EISDIR);
  if (!S_ISREG(before.st_mode)) throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": expected a regular file"));
  file_size_ = static_cast<uint64_t>(before.st_size);
  const auto [offset, size] = part.value_or(std::pair(uint64_t{0}, file_size_));
  if (offset > file_size_ || size > file_size_ - offset)
    throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": truncated: it has ", file_size_, " bytes, of which ", size,
                                           " from byte ", offset, " on are needed"));
  if (size == 0) return;  // the system maps nothing of length 0
  if (ReadingLimit::folder_for(size)) {
    mapping_ = Mapping(file.number, offset, size, false,
                       text(path.string(), ": truncated, or its disk failed, while it was read"));
    bytes_ = {mapping_.data(), size};
    mapping_.expect_order();
    return;
  }
  // Pages of the system's own, which go back to it at once when the features have been read from them.
  void* const start = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) throw std::bad_alloc();
  bytes_ = {static_cast<const std::byte*>(start), size};
  for (size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(file.number, static_cast<char*>(start) + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(path, errno);
    if (got == 0)
      throw Error(DUET_STATUS_IO_ERROR,
                  text(path.string(), ": truncated while it was read, from ", file_size_, " bytes to ", offset + done));
    done += static_cast<size_t>(got);
  }
  if (::fstat(file.number, &after) != 0) refuse(path, errno);
  const bool same = after.st_size == before.st_size && after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
                    after.st_mtim.tv_nsec == before.st_mtim.tv_nsec;
  if (!same) throw Error(DUET_STATUS_IO_ERROR, text(path.string(), ": changed while it was read"));
}

FileBytes::~FileBytes() {
  if (!bytes_.empty() && !mapping()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

FileBytes::FileBytes(FileBytes&& other) noexcept
    : mapping_(std::move(other.mapping_)), bytes_(std::exchange(other.bytes_, {})), file_size_(other.file_size_) {}

FileBytes& FileBytes::operator=(FileBytes&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(bytes_, other.bytes_);
  std::swap(file_size_, other.file_size_);
  return *this;
}

}  // namespace duet
