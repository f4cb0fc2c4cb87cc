#include "runtime/files/checksum.h"

#include <cstdio>

#include "runtime/files/file_bytes.h"

namespace duet {

Checksum file_checksum(const std::filesystem::path& path) {
  const FileBytes file(path);
  Checksum checksum;
  checksum.add(file.bytes().data(), file.bytes().size());
  return checksum;
}

std::string checksum_text(uint64_t value) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

}  // namespace duet
