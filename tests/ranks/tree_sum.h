// The tree over blocks of rows, bare: the sum of blocks first to last - 1, of which the left half is the largest power
// of two that is smaller than their number.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace duet::test {

using Blocks = std::vector<std::vector<float>>;  // arrays of the same length

inline std::vector<float> tree_sum(const Blocks& blocks, size_t first, size_t last) {
  if (last - first == 1) return blocks[first];
  size_t half = 1;
  while (2 * half < last - first) half *= 2;
  std::vector<float> sum = tree_sum(blocks, first, first + half);
  const std::vector<float> right = tree_sum(blocks, first + half, last);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += right[i];
  return sum;
}

// Values of magnitudes from 2^-12 to 2^12 and both signs, the same on every machine.
inline Blocks draw_blocks(size_t count, size_t length, uint64_t seed) {
  std::mt19937_64 engine(seed);
  Blocks blocks(count, std::vector<float>(length));
  for (std::vector<float>& block : blocks)
    for (float& value : block) {
      const uint64_t word = engine();
      const float mantissa = 1 + static_cast<float>(word & 0x7FFFFF) * 0x1p-23f;
      const float scale = static_cast<float>(uint64_t{1} << (word >> 32) % 25) * 0x1p-12f;
      value = (word >> 63 ? -1.0f : 1.0f) * mantissa * scale;
    }
  return blocks;
}

}  // namespace duet::test
