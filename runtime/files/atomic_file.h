// A file that appears whole or not at all: written under another name in the same folder, brought to the disk, then
// renamed.
#pragma once

#include <cstddef>
#include <filesystem>

#include "kernels/core/error.h"

namespace duet {

// DUET_STATUS_IO_ERROR with the system's reason, an errno.
class FileError : public Error {
 public:
  FileError(const std::string& message, int reason) : Error(DUET_STATUS_IO_ERROR, message), reason_(reason) {}
  int reason() const { return reason_; }

 private:
  int reason_;
};

// Every failure throws FileError naming the file. Destroyed without commit(): the old file stands and nothing is left
// behind.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  // What was written is on the disk, under its temporary name: of several files that belong together, each is brought
  // there before any appears.
  void sync();
  // Brings it to the disk unless sync() has, and gives it its name; a file of that name is replaced.
  void commit();
  // The same but that a file of that name stays as it is, whenever it appeared: false then.
  [[nodiscard]] bool commit_new();
  // Whether it has its name. commit() and commit_new() may still throw then: the name was not brought to the disk.
  bool placed() const { return temporary_.empty(); }

 private:
  [[noreturn]] void fail(const char* what) const;
  void close_descriptor();
  bool place(bool replaces);
  bool rename_to_new() const;

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

}  // namespace duet
