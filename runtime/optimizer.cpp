#include "runtime/optimizer.h"

#include <array>
#include <span>

#include "kernels/core/error.h"

namespace duet {
namespace {

bool is_like(const Parameter& a, const Parameter& b) {
  return a.decays == b.decays && a.low == b.low && a.high == b.high;
}

duet_optimizer_slots view_of(std::span<const duet_optimizer_slot> slots) {
  duet_optimizer_slots view = DUET_OPTIMIZER_SLOTS_INIT;
  view.slots = slots.data(), view.slot_count = std::ssize(slots);
  return view;
}

}  // namespace

// The zeros between parameters add nothing: all gradients are one slot.
GradientClip::GradientClip(duet_context* context, const ParameterStore& store, double limit)
    : limit_(static_cast<float>(limit)), norm_(context, 1), scale_(context, 1) {
  slot_.gradient = store.all(ParameterKind::gradient).vector();
  const duet_optimizer_slots slots = view_of({&slot_, 1});
  size_t bytes = 0;
  succeed(duet_gradient_clip_workspace(context, &slots, &bytes));
  scratch_ = Memory(context, bytes);
}

duet_const_vector GradientClip::scale(duet_context* context) {
  duet_gradient_clip_inputs inputs = DUET_GRADIENT_CLIP_INPUTS_INIT;
  inputs.limit = limit_;
  duet_gradient_clip_outputs outputs = DUET_GRADIENT_CLIP_OUTPUTS_INIT;
  outputs.norm = duet_f32_vector(norm_.data(), 1), outputs.scale = duet_f32_vector(scale_.data(), 1);
  const duet_optimizer_slots slots = view_of({&slot_, 1});
  succeed(duet_gradient_clip(context, &inputs, &slots, &outputs, {scratch_.get(), scratch_.bytes()}));
  return duet_f32_const_vector(scale_.data(), 1);
}

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

duet_optimizer_slots ParameterSlots::view() const { return view_of(slots_); }

void AdamW::step(duet_context* context, const Tensor& learning_rate, Step step, duet_const_vector apply) {
  duet_adamw_inputs inputs = slots_.complete(context, options_, learning_rate, apply);
  inputs.step = step.vector();
  const duet_optimizer_slots slots = slots_.view();
  succeed(duet_adamw_step(context, &inputs, &slots));
}

void Sgd::step(duet_context* context, const Tensor& learning_rate, Step, duet_const_vector apply) {
  const duet_sgd_inputs inputs = slots_.complete(context, options_, learning_rate, apply);
  const duet_optimizer_slots slots = slots_.view();
  succeed(duet_sgd_step(context, &inputs, &slots));
}

}  // namespace duet
