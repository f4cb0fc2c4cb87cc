#include "runtime/random.h"

#include "kernels/core/error.h"

namespace duet {

void RandomDraw::fill_uniform(duet_context* context, float low, float high, const Tensor& values) const {
  duet_random_inputs draw = DUET_RANDOM_INPUTS_INIT;
  draw.seed = seed;
  draw.stream = stream;
  draw.step = step;
  draw.low = low;
  draw.high = high;
  succeed(duet_random_uniform(context, &draw, sized<duet_random_uniform_outputs>({.values = values.vector()})));
}

}  // namespace duet
