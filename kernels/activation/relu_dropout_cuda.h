// ReLU and dropout of neighbouring elements, for the kernels here and for the layers that end in them.
#pragma once

#include "kernels/activation/activation_backends.h"
#include "kernels/core/philox.h"
#include "kernels/cuda/elementwise.h"

namespace duet::cuda {

struct Relu {
  __device__ static float value(float x) { return x <= 0 ? 0 : x; }
  // `passed` where y > 0, y where y is NaN, else 0.
  __device__ static float where_positive(float y, float passed) { return y != y ? y : (y > 0 ? passed : 0.0f); }
  __device__ static float slope(float x) { return where_positive(x, 1.0f); }
};

// Dropout of a matrix of this many columns.
struct Drop {
  uint64_t seed, first_element;  // of element (0, 0)
  int64_t columns;
  uint32_t stream, threshold;
  float keep_probability;
  const int64_t* step;

  Drop(const Dropout& dropout, int64_t across)
      : seed(dropout.seed),
        first_element(static_cast<uint64_t>(dropout.first_row) * static_cast<uint64_t>(across)),
        columns(across),
        stream(dropout.stream),
        threshold(static_cast<uint32_t>(
            coin_threshold(dropout.drop_probability))),  // a float below 1 is at most 1 - 2^-24: it fits
        keep_probability(1.0f - dropout.drop_probability),
        step(dropout.step.data) {}

  // Divides the elements (i, j) ... of value by keep_probability, or sets them to 0 where their word is below the
  // threshold.
  template <int kWidth>
  __device__ void apply(int64_t i, int64_t j, Pack<kWidth>& value) const {
    const uint64_t element =
        first_element + static_cast<uint64_t>(i) * static_cast<uint64_t>(columns) + static_cast<uint64_t>(j);
    const uint32_t draw = static_cast<uint32_t>(*step), skip = static_cast<uint32_t>(element % 4);
    const PhiloxBlock block = random_block(seed, stream, draw, element / 4);
    const PhiloxBlock next = kWidth > 1 && skip > 0 ? random_block(seed, stream, draw, element / 4 + 1) : block;
    DUET_UNROLL
    for (uint32_t k = 0; k < kWidth; ++k) {
      const uint32_t word = pick(block, next, skip + k);
      value.at[k] = word < threshold ? 0.0f : value.at[k] / keep_probability;
    }
  }

  // One of the eight words, selected by its number. An array with a variable index would lie in memory.
  __device__ static uint32_t pick(const PhiloxBlock& block, const PhiloxBlock& next, uint32_t number) {
    const PhiloxBlock& from = number < 4 ? block : next;
    const uint32_t low = number & 1 ? from[1] : from[0], high = number & 1 ? from[3] : from[2];
    return number & 2 ? high : low;
  }
};

}  // namespace duet::cuda
