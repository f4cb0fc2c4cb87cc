#include "runtime/random.h"

#include "kernels/core/error.h"

namespace duet {

void RandomDraw::fill_uniform(duet_context* context, float low, float high, const Tensor& values) const {
  duet_random_draw draw = DUET_RANDOM_DRAW_INIT;
  draw.seed = seed;
  draw.stream = stream;
  draw.step = step;
  succeed(duet_random_uniform(context, &draw, low, high, values.vector()));
}

}  // namespace duet
