#include "runtime/optimizer.h"

#include <array>

#include "kernels/core/error.h"

namespace duet {
namespace {

bool is_like(const Parameter& a, const Parameter& b) {
  return a.decays == b.decays && a.low == b.low && a.high == b.high;
}

}  // namespace

void ParameterSlots::collect() {
  std::array<Tensor, kParameterKinds> all;
  for (int kind = 0; kind < kParameterKinds; ++kind) all[static_cast<size_t>(kind)] = store_.all(ParameterKind{kind});
  for (int64_t first = 0, next = 0; first < store_.count(); first = next) {
    const Parameter& parameter = store_.parameter(first);
    while (next < store_.count() && is_like(store_.parameter(next), parameter)) ++next;
    const int64_t end = next < store_.count() ? store_.parameter(next).offset : all[0].rows;
    const auto part = [&](ParameterKind kind) {
      return all[static_cast<size_t>(kind)].row_part(parameter.offset, end - parameter.offset).vector();
    };
    slots_.push_back({part(ParameterKind::value), part(ParameterKind::gradient), part(ParameterKind::first_moment),
                      part(ParameterKind::second_moment), part(ParameterKind::teacher)});
    decay_.push_back(parameter.decays ? 1.0f : 0.0f);
    low_.push_back(parameter.low);
    high_.push_back(parameter.high);
  }
}

duet_optimizer_slots ParameterSlots::view() const {
  duet_optimizer_slots view = DUET_OPTIMIZER_SLOTS_INIT;
  view.slots = slots_.data(), view.slot_count = std::ssize(slots_);
  return view;
}

void AdamW::step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply) {
  duet_adamw_inputs inputs = slots_.complete(options_, learning_rate, apply);
  inputs.step = step.vector();
  const duet_optimizer_slots slots = slots_.view();
  succeed(duet_adamw_step(context, &inputs, &slots));
}

void Sgd::step(duet_context* context, const Tensor& learning_rate, Step, duet_const_vector apply) {
  const duet_sgd_inputs inputs = slots_.complete(options_, learning_rate, apply);
  const duet_optimizer_slots slots = slots_.view();
  succeed(duet_sgd_step(context, &inputs, &slots));
}

}  // namespace duet
