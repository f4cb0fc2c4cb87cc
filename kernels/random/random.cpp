#include "kernels/random/random.h"

#include <cmath>

#include "kernels/random/random_backends.h"

using namespace duet;

duet_status duet_random_words(duet_context* context, const duet_random_inputs* inputs,
                              const duet_random_words_outputs* outputs) {
  return guard("random_words", [&] {
    const auto given = load(inputs, "inputs");
    const auto to = vector<uint32_t>(load(outputs, "outputs").words, "outputs.words", kAny);
    dispatch(
        context, [&] { cpu::random_words(*context, given, to); }, [&] { cuda::random_words(*context, given, to); });
  });
}

duet_status duet_random_uniform(duet_context* context, const duet_random_inputs* inputs,
                                const duet_random_uniform_outputs* outputs) {
  return guard("random_uniform", [&] {
    const auto given = load(inputs, "inputs");
    require(std::isfinite(given.low) && std::isfinite(given.high) && given.low <= given.high,
            "inputs.low, inputs.high: expected finite bounds, low <= high, got ", given.low, ", ", given.high);
    const auto to = vector<float>(load(outputs, "outputs").values, "outputs.values", kAny);
    dispatch(
        context, [&] { cpu::random_uniform(*context, given, given.low, given.high, to); },
        [&] { cuda::random_uniform(*context, given, given.low, given.high, to); });
  });
}
