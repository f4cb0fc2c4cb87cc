#include "runtime/files/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace duet {

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  // A name that no other writer of the same file has, nor one that died: the process's number, and a count where that
  // is taken.
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    const std::filesystem::path name = text(path.string(), ".", ::getpid(), ".", attempt, ".part");
    descriptor_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) temporary_ = name;
    if (descriptor_ < 0 && errno != EEXIST) fail("cannot be created");
  }
}

AtomicFile::~AtomicFile() {
  close_descriptor();
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}

void AtomicFile::sync() {
  if (::fsync(descriptor_) != 0) fail("cannot be brought to the disk");
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail("cannot be closed");
}

void AtomicFile::commit() { place(true); }

bool AtomicFile::commit_new() { return place(false); }

bool AtomicFile::place(bool replaces) {
  if (descriptor_ >= 0) sync();
  // The new name is an entry of the folder: unless that is brought to the disk, a crash could bring the old file back.
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor_ < 0) fail("its folder cannot be opened");
  if (replaces ? ::rename(temporary_.c_str(), path_.c_str()) != 0 : !rename_to_new()) {
    if (!replaces && errno == EEXIST) return false;
    fail("cannot be renamed into place");
  }
  temporary_.clear();
  const int synced = ::fsync(descriptor_);
  const int reason = errno;
  close_descriptor();
  errno = reason;
  // Some file systems refuse to sync a folder; there the rename is as durable as it gets.
  if (synced != 0 && reason != EINVAL) fail("its folder cannot be brought to the disk");
  return true;
}

// false: errno says why. A file system that cannot refuse to replace a file in a rename does so when it makes a link;
// should the temporary name outlive that, it is a second name of a whole file.
bool AtomicFile::rename_to_new() const {
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  if (::link(temporary_.c_str(), path_.c_str()) != 0) return false;
  ::unlink(temporary_.c_str());
  return true;
}

void AtomicFile::fail(const char* what) const {
  const int reason = errno;
  throw FileError(text(path_.string(), ": ", what, " (", std::strerror(reason), ")"), reason);
}

void AtomicFile::close_descriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

}  // namespace duet
