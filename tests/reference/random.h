// METHOD.md 0, written from the definition: Philox4x32-10, its rounds spelled out in 64-bit integers. For tests alone.
#pragma once

#include <cstdint>

namespace duet::reference {

struct PhiloxWords {
  uint64_t word[4];
};

inline PhiloxWords philox(PhiloxWords counter, uint64_t key0, uint64_t key1) {
  const uint64_t low = 0xFFFFFFFF;
  for (uint64_t round = 0; round < 10; ++round) {
    const uint64_t left = counter.word[0] * 0xD2511F53, right = counter.word[2] * 0xCD9E8D57;
    const uint64_t k0 = (key0 + round * 0x9E3779B9) & low, k1 = (key1 + round * 0xBB67AE85) & low;
    counter = {{(right >> 32) ^ counter.word[1] ^ k0, right & low, (left >> 32) ^ counter.word[3] ^ k1, left & low}};
  }
  return counter;
}

inline uint32_t random_word(uint64_t seed, uint32_t stream, uint32_t step, uint64_t element) {
  const uint64_t block = element / 4, low = 0xFFFFFFFF;
  return static_cast<uint32_t>(
      philox({{block & low, block >> 32, step, stream}}, seed & low, seed >> 32).word[element % 4]);
}

}  // namespace duet::reference
