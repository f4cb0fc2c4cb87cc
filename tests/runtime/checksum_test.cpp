// XXH64 against the values of the xxhash package, in parts of any size.
#include "runtime/files/checksum.h"

#include <doctest/doctest.h>

#include <vector>

using namespace duet;

namespace {

std::vector<std::byte> pattern(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t k = 0; k < size; ++k) bytes[k] = static_cast<std::byte>(k * 7 + 3);
  return bytes;
}

}  // namespace

TEST_CASE("checksums are XXH64, whatever the parts") {
  struct Known {
    size_t size;
    const char* value;
  };
  for (const Known& known :
       {Known{0, "ef46db3751d8e999"}, Known{1, "1f25c8d0bc1f4bb6"}, Known{4, "9bb64b7d66ee9fda"},
        Known{13, "f78b031308f5bfc8"}, Known{31, "a2aa5f33cc4a6119"}, Known{32, "23c3c17ef790fd97"},
        Known{33, "50a7cfc7ba588784"}, Known{64, "0eb64b3ef6eeb01f"}, Known{101, "bad4d3bf033bda4c"},
        Known{1000, "5f235fa033f1a3fb"}}) {
    const std::vector<std::byte> bytes = pattern(known.size);
    for (const size_t part : {size_t{1}, size_t{5}, size_t{32}, size_t{47}, size_t{1000}}) {
      INFO(known.size, " bytes in parts of ", part);
      Checksum checksum;
      for (size_t at = 0; at < bytes.size(); at += part)
        checksum.add(bytes.data() + at, std::min(part, bytes.size() - at));
      CHECK(checksum_text(checksum.value()) == known.value);
      CHECK(checksum.bytes() == static_cast<int64_t>(known.size));
    }
  }
}

TEST_CASE("every flipped bit changes a checksum") {
  std::vector<std::byte> bytes = pattern(75);
  const auto value = [&] {
    Checksum checksum;
    checksum.add(bytes.data(), bytes.size());
    return checksum.value();
  };
  const uint64_t sound = value();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK(value() != sound);
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}
