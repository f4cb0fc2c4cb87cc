// Philox4x32-10 (Salmon et al., SC 2011), counted as METHOD.md section 0 counts it: the same word on every backend, in
// any order.
#pragma once

#include <cstdint>

#include "kernels/core/host_device.h"

namespace duet {

// Streams of METHOD.md section 0. Dropout and distance_weighted add 256 times their layer or slot.
enum RandomStream : uint32_t {
  kStreamInitialisation = 1,  // step = parameter number
  kStreamShuffle = 2,         // step = epoch
  kStreamLabelHiding = 3,
  kStreamAnnotatedSplit = 4,  // step = epoch, element = sample id
  kStreamDropout = 5,
  kStreamDistanceWeighted = 6,
};

struct PhiloxBlock {
  uint32_t word[4];

  DUET_HOST_DEVICE constexpr uint32_t operator[](uint64_t k) const { return word[k]; }
  friend constexpr bool operator==(const PhiloxBlock&, const PhiloxBlock&) = default;
};

DUET_HOST_DEVICE constexpr PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p = uint64_t{counter[0]} * 0xD2511F53u, q = uint64_t{counter[2]} * 0xCD9E8D57u;
    counter = PhiloxBlock{static_cast<uint32_t>(q >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(q),
                          static_cast<uint32_t>(p >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(p)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// The four words of block number block (elements 4 block ... 4 block + 3) of a draw.
DUET_HOST_DEVICE constexpr PhiloxBlock random_block(uint64_t seed, uint32_t stream, uint32_t step, uint64_t block) {
  return philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), step, stream},
                static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

DUET_HOST_DEVICE constexpr uint32_t random_word(uint64_t seed, uint32_t stream, uint32_t step, uint64_t element) {
  return random_block(seed, stream, step, element / 4)[element % 4];
}

// Uniform in (0, 1).
DUET_HOST_DEVICE constexpr double uniform(uint32_t word) { return (word + 0.5) / 4294967296.0; }

// A coin of probability p is word < coin_threshold(p), a test on integers and so the same on every backend. What is no
// probability, which a context that notes faults may come to see, counts as the nearest one; NaN as 0.
DUET_HOST_DEVICE constexpr uint64_t coin_threshold(double p) {
  return static_cast<uint64_t>((p > 0 ? (p < 1 ? p : 1) : 0) * 4294967296.0 + 0.5);
}

}  // namespace duet
