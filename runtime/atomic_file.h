// A file that appears whole or not at all: written under another name in the same folder, brought to the disk, then renamed.
#pragma once

#include <cstddef>
#include <filesystem>

namespace duet {

// Every failure throws Error(DUET_IO_ERROR) naming the file. Destroyed without commit(): the old file stands and nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  // What was written is on the disk, under its temporary name: of several files that belong together, each is brought there before any appears.
  void sync();
  // Brings it to the disk unless sync() has, and gives it its name.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  void close_descriptor();

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

}  // namespace duet
