#include "runtime/optimizer.h"

#include "kernels/core/error.h"

namespace duet {
namespace {

// One slot for all parameters: both updates are elementwise, and the zeros between parameters stay zeros under them.
duet_optimizer_slot slot_of(const ParameterStore& store) {
  return {store.all(ParameterKind::value).vector(), store.all(ParameterKind::gradient).vector(), store.all(ParameterKind::first_moment).vector(),
          store.all(ParameterKind::second_moment).vector(), store.all(ParameterKind::teacher).vector()};
}

}  // namespace

void AdamW::step(duet_context* context, const Tensor& learning_rate, Step step) {
  const duet_optimizer_slot slot = slot_of(store_);
  succeed(duet_adamw_step(context, &slot, 1, &options_, learning_rate.vector(), step.vector()));
}

void Sgd::step(duet_context* context, const Tensor& learning_rate, Step) {
  const duet_optimizer_slot slot = slot_of(store_);
  succeed(duet_sgd_step(context, &slot, 1, &options_, learning_rate.vector()));
}

}  // namespace duet
