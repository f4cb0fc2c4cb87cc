#include "kernels/random/random.h"

#include <cmath>

#include "kernels/random/random_backends.h"

using namespace duet;

duet_status duet_random_words(duet_context* context, const duet_random_draw* draw, duet_vector words) {
  return guard("random_words", [&] {
    const auto chosen = load(draw, "draw");
    const auto to = vector<uint32_t>(words, "words", kAny);
    dispatch(
        context, [&] { cpu::random_words(*context, chosen, to); }, [&] { cuda::random_words(*context, chosen, to); });
  });
}

duet_status duet_random_uniform(duet_context* context, const duet_random_draw* draw, float low, float high,
                                duet_vector values) {
  return guard("random_uniform", [&] {
    const auto chosen = load(draw, "draw");
    require(std::isfinite(low) && std::isfinite(high) && low <= high,
            "low, high: expected finite bounds, low <= high, got ", low, ", ", high);
    const auto to = vector<float>(values, "values", kAny);
    dispatch(
        context, [&] { cpu::random_uniform(*context, chosen, low, high, to); },
        [&] { cuda::random_uniform(*context, chosen, low, high, to); });
  });
}
