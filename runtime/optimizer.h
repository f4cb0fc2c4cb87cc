// Optimizers over a ParameterStore: one kernel call updates every parameter, its moments and the teacher's moving average (METHOD.md 6.2), a second
// one those to which no weight decay applies, where there are any. Bounded parameters are then moved back into their bounds.
#pragma once

#include <vector>

#include "runtime/parameters.h"
#include "runtime/tensor.h"

namespace duet {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One step with the gradients as they stand; they are not cleared. learning_rate: a scalar; step: the number of this update, from 1.
  virtual void step(duet_context* context, const Tensor& learning_rate, Step step) = 0;
};

// A store's parameters as the kernels take them, from the first step on: the updates are elementwise, so neighbours are one slot, and the zeros
// between them stay zeros.
class ParameterSlots {
 public:
  explicit ParameterSlots(ParameterStore& store) : store_(store) {}
  // step(slots, their number, whether weight decay applies to them) for each kind of parameters that there is; then the bounds.
  template <class Step>
  void update(Step&& step) {
    if (decaying_.empty() && others_.empty()) collect();
    if (!decaying_.empty()) step(decaying_.data(), static_cast<int64_t>(decaying_.size()), true);
    if (!others_.empty()) step(others_.data(), static_cast<int64_t>(others_.size()), false);
    store_.clamp();
  }

 private:
  void collect();

  ParameterStore& store_;
  std::vector<duet_optimizer_slot> decaying_, others_;
};

class AdamW : public Optimizer {
 public:
  explicit AdamW(ParameterStore& store, const duet_adamw_options& options = DUET_ADAMW_OPTIONS_INIT) : slots_(store), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step) override;

 private:
  ParameterSlots slots_;
  duet_adamw_options options_;
};

// Momentum lies in the first moment; the second is not used.
class Sgd : public Optimizer {
 public:
  explicit Sgd(ParameterStore& store, const duet_sgd_options& options = DUET_SGD_OPTIONS_INIT) : slots_(store), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step) override;

 private:
  ParameterSlots slots_;
  duet_sgd_options options_;
};

}  // namespace duet
