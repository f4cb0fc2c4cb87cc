// What each backend implements of optimizer, on checked arguments.
#pragma once

#include <math.h>

#include "kernels/core/ceil_div.h"
#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/optimizer/optimizer.h"

namespace duet {

// The caller's slots, checked: within a slot every array that the step uses has size elements of float32.
struct OptimizerSlots {
  const duet_optimizer_slot* slots;
  int64_t count;
  Vector<const int32_t> apply;         // without data: always
  Vector<const float> gradient_scale;  // without data: 1
  const float *decays, *lows, *highs;  // a number a slot, on the host; null: none given

  // Only for memory that the host can read.
  bool applies() const { return !apply || apply[0] != 0; }
  float scale() const { return gradient_scale ? gradient_scale[0] : 1; }
  // Pieces of at most so many elements that the gradients are cut into, each of one slot.
  int64_t gradient_chunks(int64_t most) const {
    int64_t chunks = 0;
    for (int64_t k = 0; k < count; ++k) chunks += ceil_div(slots[k].gradient.size, most);
    return chunks;
  }
  float decay(int64_t k, float of_all) const { return decays ? of_all * decays[k] : of_all; }
  float low(int64_t k) const { return lows ? lows[k] : -HUGE_VALF; }
  float high(int64_t k) const { return highs ? highs[k] : HUGE_VALF; }
};

// The factor of gradients whose norm is this.
DUET_HOST_DEVICE inline float clip_factor(double norm, float limit) {
  if (norm <= double{limit}) return 1;
  return static_cast<float>(double{limit} / norm);
}

// NaN stays.
DUET_HOST_DEVICE inline float clamped(float value, float low, float high) {
  return value < low ? low : high < value ? high : value;
}

DUET_BACKEND_FUNCTION(size_t, gradient_clip_workspace, const OptimizerSlots& slots)
DUET_BACKEND_FUNCTION(void, gradient_clip, const duet_context& context, const OptimizerSlots& slots, float limit,
                      Vector<float> norm, Vector<float> scale, Workspace scratch)
DUET_BACKEND_FUNCTION(void, adamw_step, const duet_context& context, const OptimizerSlots& slots,
                      const duet_adamw_inputs& options, Vector<const float> learning_rate, Vector<const int64_t> step)
DUET_BACKEND_FUNCTION(void, sgd_step, const duet_context& context, const OptimizerSlots& slots,
                      const duet_sgd_inputs& options, Vector<const float> learning_rate)

}  // namespace duet
