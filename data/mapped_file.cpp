#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "kernels/core/error.h"

namespace duet::data {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, int reason) {
  throw Error(DUET_IO_ERROR, text(path.string(), ": ", std::generic_category().message(reason)));
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.number < 0) refuse(path, errno);
  struct stat facts = {};
  if (::fstat(file.number, &facts) != 0) refuse(path, errno);
  if (S_ISDIR(facts.st_mode)) refuse(path, EISDIR);
  if (!S_ISREG(facts.st_mode)) throw Error(DUET_IO_ERROR, text(path.string(), ": expected a regular file"));
  const auto size = static_cast<size_t>(facts.st_size);
  if (size == 0) return;  // the system maps no empty file
  void* const start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (start == MAP_FAILED) refuse(path, errno);
  bytes_ = {static_cast<const std::byte*>(start), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace duet::data
