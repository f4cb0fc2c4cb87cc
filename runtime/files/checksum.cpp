#include "runtime/files/checksum.h"

#include <cstdio>

#include "runtime/files/file_bytes.h"

#define XXH_INLINE_ALL  // the header alone, no library
#include <xxhash.h>

namespace duet {

struct Checksum::State {
  XXH64_state_t of;
};

Checksum::Checksum() : state_(new State) { XXH64_reset(&state_->of, 0); }

void Checksum::Free::operator()(State* state) const { delete state; }

void Checksum::add(const void* data, size_t bytes) {
  if (bytes > 0) XXH64_update(&state_->of, data, bytes);
  bytes_ += static_cast<int64_t>(bytes);
}

uint64_t Checksum::value() const { return XXH64_digest(&state_->of); }

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
