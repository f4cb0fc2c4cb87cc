// The optimizers' steps as tests make them: slots, options, learning rate and step one after another.
#pragma once

#include "kernels/core/sized.h"
#include "kernels/duet.h"

namespace duet::test {

inline duet_optimizer_slots slots_of(const duet_optimizer_slot* slots, int64_t count) {
  duet_optimizer_slots all = DUET_OPTIMIZER_SLOTS_INIT;
  all.slots = slots, all.slot_count = count;
  return all;
}

inline duet_status adamw_step(duet_context* context, const duet_optimizer_slot* slots, int64_t count,
                              duet_adamw_inputs inputs, duet_const_vector learning_rate, duet_const_vector step) {
  inputs.learning_rate = learning_rate, inputs.step = step;
  const duet_optimizer_slots all = slots_of(slots, count);
  return duet_adamw_step(context, &inputs, &all);
}

inline duet_status sgd_step(duet_context* context, const duet_optimizer_slot* slots, int64_t count,
                            duet_sgd_inputs inputs, duet_const_vector learning_rate) {
  inputs.learning_rate = learning_rate;
  const duet_optimizer_slots all = slots_of(slots, count);
  return duet_sgd_step(context, &inputs, &all);
}

}  // namespace duet::test
