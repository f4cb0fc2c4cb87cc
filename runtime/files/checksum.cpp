#include "runtime/files/checksum.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "runtime/files/file_bytes.h"

namespace duet {
namespace {

// The specification's five primes.
constexpr uint64_t kPrime1 = 0x9e3779b185ebca87, kPrime2 = 0xc2b2ae3d27d4eb4f, kPrime3 = 0x165667b19e3779f9,
                   kPrime4 = 0x85ebca77c2b2ae63, kPrime5 = 0x27d4eb2f165667c5;

template <class Word>
uint64_t word_at(const std::byte* bytes) {
  static_assert(std::endian::native == std::endian::little, "words are read as they lie");
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint64_t round_of(uint64_t lane, uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

}  // namespace

void Checksum::add_stripe(const std::byte* stripe) {
  for (size_t k = 0; k < lanes_.size(); ++k) lanes_[k] = round_of(lanes_[k], word_at<uint64_t>(stripe + 8 * k));
}

void Checksum::add(const void* data, size_t bytes) {
  const auto* at = static_cast<const std::byte*>(data);
  const size_t held = length_ % kStripe;
  length_ += bytes;
  if (held > 0) {
    const size_t taken = std::min(bytes, kStripe - held);
    std::copy_n(at, taken, rest_.data() + held);
    if (held + taken < kStripe) return;
    add_stripe(rest_.data());
    at += taken, bytes -= taken;
  }
  for (; bytes >= kStripe; at += kStripe, bytes -= kStripe) add_stripe(at);
  std::copy_n(at, bytes, rest_.data());
}

uint64_t Checksum::value() const {
  uint64_t hash = kPrime5;
  if (length_ >= kStripe) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) + std::rotl(lanes_[3], 18);
    for (const uint64_t lane : lanes_) hash = (hash ^ round_of(0, lane)) * kPrime1 + kPrime4;
  }
  hash += length_;
  const std::byte *at = rest_.data(), *const end = at + length_ % kStripe;
  for (; end - at >= 8; at += 8) hash = std::rotl(hash ^ round_of(0, word_at<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  for (; end - at >= 4; at += 4) hash = std::rotl(hash ^ word_at<uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; at < end; ++at) hash = std::rotl(hash ^ std::to_integer<uint64_t>(*at) * kPrime5, 11) * kPrime1;
  hash = (hash ^ hash >> 33) * kPrime2;
  hash = (hash ^ hash >> 29) * kPrime3;
  return hash ^ hash >> 32;
}

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
