// Random numbers on the host, METHOD.md section 0: element e of a draw is a function of seed, stream, step and e, never of what was drawn before.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/philox.h"

namespace duet {

struct RandomDraw {
  uint64_t seed;
  uint32_t stream;  // a RandomStream
  uint32_t step;

  uint32_t word(uint64_t element) const { return random_word(seed, stream, step, element); }
  double uniform(uint64_t element) const { return duet::uniform(word(element)); }  // in (0, 1)
  bool coin(uint64_t element, double probability) const { return word(element) < coin_threshold(probability); }

  // A permutation of 0 ... order.size() - 1: the numbers sorted by their words, equal words by number. Allocates nothing.
  void permutation(std::span<int64_t> order) const;
};

}  // namespace duet
