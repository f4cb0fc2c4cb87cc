// The archives that numpy.savez writes: ZIP files with members stored or deflated, Zip64 or not, in one part and not
// encrypted. The directory at the end is believed, and what it says is held against the file's size before anything is
// allocated; what the members' own headers repeat is not read, for NumPy leaves sizes out there.
// Every error is one line that names the file and the member: DUET_STATUS_INVALID_ARGUMENT; DUET_STATUS_IO_ERROR where
// the system refuses the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/files/mapping.h"

namespace duet::data {

struct ZipMember {
  std::string name;
  uint64_t offset = 0;               // of its own header
  uint64_t stored = 0, content = 0;  // bytes in the file, and once inflated
  uint32_t crc = 0;
  bool deflated = false;
};

// Names that are absolute, hold "..", a backslash or a zero byte, or come twice are refused.
std::vector<ZipMember> zip_members(const std::filesystem::path& path);

// Bytes with what holds them.
struct HeldBytes {
  std::shared_ptr<const void> memory;
  std::span<const std::byte> bytes;
  const Mapping* mapping = nullptr;  // as StoredArray has it
};
// The member's content; where the build has zlib its checksum is compared, and without it deflated ones are refused
// (DUET_STATUS_UNSUPPORTED).
HeldBytes read_zip_member(const std::filesystem::path& path, const ZipMember& member);

std::string zlib_version_text();  // "" without zlib

}  // namespace duet::data
