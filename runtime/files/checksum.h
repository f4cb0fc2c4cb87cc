// XXH64 of a file's bytes (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): a flipped bit or a lost
// part shows, and `xxhsum -H64` says the same number. No guard against whoever changes a file on purpose.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace duet {

class Checksum {
 public:
  // In parts of any size: the value is that of all of them one after another.
  void add(const void* data, size_t bytes);
  uint64_t value() const;
  int64_t bytes() const { return static_cast<int64_t>(length_); }

 private:
  static constexpr size_t kStripe = 32;
  void add_stripe(const std::byte* stripe);

  std::array<uint64_t, 4> lanes_ = {0x60ea27eeadc0b5d6, 0xc2b2ae3d27d4eb4f, 0, 0x61c8864e7a143579};
  std::array<std::byte, kStripe> rest_ = {};  // of a stripe that is not full, length_ % 32 bytes
  uint64_t length_ = 0;
};

// Of a whole file. Errors: those of FileBytes.
Checksum file_checksum(const std::filesystem::path& path);
// 16 hexadecimal digits.
std::string checksum_text(uint64_t value);

}  // namespace duet
