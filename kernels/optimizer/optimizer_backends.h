// What each backend implements of optimizer, on checked arguments.
#pragma once

#include <math.h>

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/optimizer/optimizer.h"

namespace duet {

// The caller's slots, checked: within a slot every array that the step uses has size elements of float32.
struct OptimizerSlots {
  const duet_optimizer_slot* slots;
  int64_t count;
  Vector<const int32_t> apply;         // without data: always
  const float *decays, *lows, *highs;  // a number a slot, on the host; null: none given

  bool applies() const { return !apply || apply[0] != 0; }  // only for memory that the host can read
  float decay(int64_t k, float of_all) const { return decays ? of_all * decays[k] : of_all; }
  float low(int64_t k) const { return lows ? lows[k] : -HUGE_VALF; }
  float high(int64_t k) const { return highs ? highs[k] : HUGE_VALF; }
};

// NaN stays.
DUET_HOST_DEVICE inline float clamped(float value, float low, float high) {
  return value < low ? low : high < value ? high : value;
}

DUET_BACKEND_FUNCTION(void, adamw_step, const duet_context& context, const OptimizerSlots& slots,
                      const duet_adamw_inputs& options, Vector<const float> learning_rate, Vector<const int64_t> step)
DUET_BACKEND_FUNCTION(void, sgd_step, const duet_context& context, const OptimizerSlots& slots,
                      const duet_sgd_inputs& options, Vector<const float> learning_rate)

}  // namespace duet
