// The dropout of a run of neighbouring elements, on the CPU.
#pragma once

#include "kernels/activation/activation_backends.h"
#include "kernels/core/philox.h"

namespace duet::cpu {

struct DropoutDraw {
  uint64_t seed = 0;
  uint32_t stream = 0, step = 0, threshold = 0;
  float keep_probability = 1;
  int64_t first_row = 0;

  DropoutDraw() = default;  // nothing is drawn
  // A float below 1 is at most 1 - 2^-24, so the threshold fits 32 bits.
  explicit DropoutDraw(const Dropout& dropout)
      : seed(dropout.seed),
        stream(dropout.stream),
        step(static_cast<uint32_t>(dropout.step[0])),
        threshold(static_cast<uint32_t>(coin_threshold(dropout.drop_probability))),
        keep_probability(1.0f - dropout.drop_probability),
        first_row(dropout.first_row) {}

  // The number of element (i, j) in a matrix of this many columns.
  uint64_t element(int64_t i, int64_t j, int64_t columns) const {
    return static_cast<uint64_t>(first_row + i) * static_cast<uint64_t>(columns) + static_cast<uint64_t>(j);
  }
};

}  // namespace duet::cpu
