// What each backend implements of optimizer, on checked arguments.
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"
#include "kernels/optimizer/optimizer.h"

namespace duet {

// The caller's slots, checked: within a slot every array that the step uses has size elements of float32.
struct OptimizerSlots {
  const duet_optimizer_slot* slots;
  int64_t count;
};

namespace cpu {

void adamw_step(const duet_context& context, const OptimizerSlots& slots, const duet_adamw_options& options, Vector<const float> learning_rate,
                Vector<const int64_t> step);
void sgd_step(const duet_context& context, const OptimizerSlots& slots, const duet_sgd_options& options, Vector<const float> learning_rate);

}  // namespace cpu

namespace cuda {

void adamw_step(const duet_context& context, const OptimizerSlots& slots, const duet_adamw_options& options, Vector<const float> learning_rate,
                Vector<const int64_t> step);
void sgd_step(const duet_context& context, const OptimizerSlots& slots, const duet_sgd_options& options, Vector<const float> learning_rate);

}  // namespace cuda
}  // namespace duet
