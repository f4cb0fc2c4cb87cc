// XXH64 of a file's bytes, by xxHash: a flipped bit or a lost part shows, and `xxhsum -H64` says the same number. No
// guard against whoever changes a file on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace duet {

class Checksum {
 public:
  Checksum();

  // In parts of any size: the value is that of all of them one after another.
  void add(const void* data, size_t bytes);
  uint64_t value() const;
  int64_t bytes() const { return bytes_; }

 private:
  struct State;  // xxHash's
  struct Free {
    void operator()(State* state) const;
  };

  std::unique_ptr<State, Free> state_;
  int64_t bytes_ = 0;
};

// Of a whole file. Errors: those of FileBytes.
Checksum file_checksum(const std::filesystem::path& path);
// 16 hexadecimal digits.
std::string checksum_text(uint64_t value);

}  // namespace duet
