// Optimizers over a ParameterStore: one kernel call updates every parameter, its moments and the teacher's moving
// average (METHOD.md 6.2), and moves bounded parameters back into their bounds.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "runtime/memory.h"
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

// Keeps the Euclidean norm of all of a store's gradients together at or below a limit (duet_gradient_clip).
class GradientClip {
 public:
  // store is initialised, and outlives it. limit: above 0. All that it needs of the context's memory is taken here.
  GradientClip(duet_context* context, const ParameterStore& store, double limit);
  // The factor for the gradients as they stand, a scalar in the context's memory.
  duet_const_vector scale(duet_context* context);

 private:
  float limit_;
  duet_optimizer_slot slot_ = {};
  DeviceArray<float> norm_, scale_;
  Memory scratch_;
};

// A store's parameters as the kernels take them, from the first step on: the updates are elementwise, so neighbours of
// one kind are one slot, and the zeros between them stay zeros.
class ParameterSlots {
 public:
  ParameterSlots(ParameterStore& store, std::optional<GradientClip> clip) : store_(store), clip_(std::move(clip)) {}
  // The options with the slots' decays and bounds, the learning rate, the flag and the factor of the gradients.
  template <class Inputs>
  Inputs complete(duet_context* context, Inputs options, const Tensor& learning_rate, duet_const_vector apply) {
    if (slots_.empty()) collect();
    if (clip_) options.gradient_scale = clip_->scale(context);
    options.learning_rate = learning_rate.vector(), options.apply = apply;
    options.slot_decay = decay_.data(), options.slot_low = low_.data(), options.slot_high = high_.data();
    return options;
  }
  duet_optimizer_slots view() const;

 private:
  void collect();

  ParameterStore& store_;
  std::optional<GradientClip> clip_;
  std::vector<duet_optimizer_slot> slots_;
  std::vector<float> decay_, low_, high_;
};

class AdamW : public Optimizer {
 public:
  // clip: none: the gradients are taken as they are.
  explicit AdamW(ParameterStore& store, const duet_adamw_inputs& options = DUET_ADAMW_INPUTS_INIT,
                 std::optional<GradientClip> clip = {})
      : slots_(store, std::move(clip)), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply = {}) override;

 private:
  ParameterSlots slots_;
  duet_adamw_inputs options_;
};

// Momentum lies in the first moment; the second is not used.
class Sgd : public Optimizer {
 public:
  explicit Sgd(ParameterStore& store, const duet_sgd_inputs& options = DUET_SGD_INPUTS_INIT,
               std::optional<GradientClip> clip = {})
      : slots_(store, std::move(clip)), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply = {}) override;

 private:
  ParameterSlots slots_;
  duet_sgd_inputs options_;
};

}  // namespace duet
