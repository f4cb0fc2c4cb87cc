// What each backend implements of random, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/random/random.h"

namespace duet {
DUET_BACKEND_FUNCTION(void, random_words, const duet_context& context, const duet_random_inputs& draw,
                      Vector<uint32_t> words)
DUET_BACKEND_FUNCTION(void, random_uniform, const duet_context& context, const duet_random_inputs& draw, double low,
                      double high, Vector<float> values)

}  // namespace duet
