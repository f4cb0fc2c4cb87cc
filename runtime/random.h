// Random streams, METHOD.md section 0: element e of a draw is a function of seed, stream, step and e, never of what was
// drawn before, so nothing depends on an order.
#pragma once

#include <cstdint>

#include "kernels/core/philox.h"
#include "runtime/tensor.h"

namespace duet {

struct RandomDraw {
  uint64_t seed;
  uint32_t stream;  // a RandomStream
  uint32_t step;

  uint32_t word(uint64_t element) const { return random_word(seed, stream, step, element); }
  double uniform(uint64_t element) const { return duet::uniform(word(element)); }  // in (0, 1)
  bool coin(uint64_t element, double probability) const { return word(element) < coin_threshold(probability); }

  // values[e] = low + (high - low) uniform(e), in the tensor's memory; rows without padding.
  void fill_uniform(duet_context* context, float low, float high, const Tensor& values) const;
};

}  // namespace duet
