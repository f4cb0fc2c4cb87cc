// Optimizers over a ParameterStore: one kernel call updates every parameter, its moments and the teacher's moving
// average (METHOD.md 6.2), and moves bounded parameters back into their bounds.
#pragma once

#include <vector>

#include "runtime/parameters.h"
#include "runtime/tensor.h"

namespace duet {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One step with the gradients as they stand; they are not cleared. learning_rate: a scalar; step: the number of this
  // update, from 1. apply: an int32 in the context's memory, 0 where nothing may change; null: everything does.
  virtual void step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply = {}) = 0;
};

// A store's parameters as the kernels take them, from the first step on: the updates are elementwise, so neighbours of
// one kind are one slot, and the zeros between them stay zeros.
class ParameterSlots {
 public:
  explicit ParameterSlots(ParameterStore& store) : store_(store) {}
  // The options with the slots' decays and bounds, the learning rate and the flag.
  template <class Inputs>
  Inputs complete(Inputs options, const Tensor& learning_rate, duet_const_vector apply) {
    if (slots_.empty()) collect();
    options.learning_rate = learning_rate.vector(), options.apply = apply;
    options.slot_decay = decay_.data(), options.slot_low = low_.data(), options.slot_high = high_.data();
    return options;
  }
  duet_optimizer_slots view() const;

 private:
  void collect();

  ParameterStore& store_;
  std::vector<duet_optimizer_slot> slots_;
  std::vector<float> decay_, low_, high_;
};

class AdamW : public Optimizer {
 public:
  explicit AdamW(ParameterStore& store, const duet_adamw_inputs& options = DUET_ADAMW_INPUTS_INIT)
      : slots_(store), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply = {}) override;

 private:
  ParameterSlots slots_;
  duet_adamw_inputs options_;
};

// Momentum lies in the first moment; the second is not used.
class Sgd : public Optimizer {
 public:
  explicit Sgd(ParameterStore& store, const duet_sgd_inputs& options = DUET_SGD_INPUTS_INIT)
      : slots_(store), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply = {}) override;

 private:
  ParameterSlots slots_;
  duet_sgd_inputs options_;
};

}  // namespace duet
