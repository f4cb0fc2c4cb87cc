// Optimizers over a ParameterStore: one kernel call updates every parameter, its moments and the teacher's moving average (METHOD.md 6.2).
#pragma once

#include "runtime/parameters.h"
#include "runtime/tensor.h"

namespace duet {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // One step with the gradients as they stand; they are not cleared. learning_rate: a scalar; step: the number of this update, from 1.
  virtual void step(duet_context* context, const Tensor& learning_rate, Step step) = 0;
};

class AdamW : public Optimizer {
 public:
  explicit AdamW(ParameterStore& store, const duet_adamw_options& options = DUET_ADAMW_OPTIONS_INIT) : store_(store), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step) override;

 private:
  ParameterStore& store_;
  duet_adamw_options options_;
};

// Momentum lies in the first moment; the second is not used.
class Sgd : public Optimizer {
 public:
  explicit Sgd(ParameterStore& store, const duet_sgd_options& options = DUET_SGD_OPTIONS_INIT) : store_(store), options_(options) {}
  void step(duet_context* context, const Tensor& learning_rate, Step step) override;

 private:
  ParameterStore& store_;
  duet_sgd_options options_;
};

}  // namespace duet
