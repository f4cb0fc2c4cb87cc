// XXH64 of a file's bytes, by xxHash: a flipped bit or a lost part shows, and `xxhsum -H64` says the same number. No
// guard against whoever changes a file on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL  // the header alone, no library
#endif
#include <xxhash.h>

namespace duet {

class Checksum {
 public:
  Checksum() { XXH64_reset(&state_, 0); }

  // In parts of any size: the value is that of all of them one after another.
  void add(const void* data, size_t bytes) {
    if (bytes > 0) XXH64_update(&state_, data, bytes);
    bytes_ += static_cast<int64_t>(bytes);
  }
  uint64_t value() const { return XXH64_digest(&state_); }
  int64_t bytes() const { return bytes_; }

 private:
  XXH64_state_t state_;
  int64_t bytes_ = 0;
};

// Of a whole file. Errors: those of FileBytes.
Checksum file_checksum(const std::filesystem::path& path);
// 16 hexadecimal digits.
std::string checksum_text(uint64_t value);

}  // namespace duet
