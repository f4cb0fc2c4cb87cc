#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <span>

#include "kernels/core/arguments.h"
#include "kernels/optimizer/optimizer_backends.h"

namespace duet {
namespace {

enum class SecondMoment { used, unused };

constexpr float kLargestDecay = 3e38f;

// Calls field(array, name, whether it is written) for each array of a slot that a step uses.
template <class Field>
void for_each_field(const duet_optimizer_slot& slot, SecondMoment second_moment, Field&& field) {
  field(slot.parameter, "parameter", true);
  field(slot.gradient, "gradient", false);
  field(slot.first_moment, "first_moment", true);
  if (second_moment == SecondMoment::used) field(slot.second_moment, "second_moment", true);
  if (slot.teacher.data != nullptr || slot.teacher.size != 0) field(slot.teacher, "teacher", true);
}

// The memory of an array of a slot, or of an argument outside of the slots.
struct Piece {
  uintptr_t first, end;
  bool written;
  const char* field;
  int64_t slot;  // -1: an argument outside of the slots

  std::string name() const { return slot < 0 ? field : text("slots[", slot, "].", field); }
};

// Refuses a written array that shares memory with another one. The arrays are sorted by their first byte, so that many
// of them cost little.
void check_apart(std::span<Piece> pieces) {
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.first < b.first; });
  const Piece *written = nullptr, *read = nullptr;  // the arrays that reach furthest so far
  const auto further = [](const Piece* reached, const Piece& piece) {
    return reached && reached->end > piece.end ? reached : &piece;
  };
  for (const Piece& piece : pieces) {
    if (written && written->end > piece.first) require(false, written->name(), ": shares memory with ", piece.name());
    if (piece.written && read && read->end > piece.first)
      require(false, piece.name(), ": shares memory with ", read->name());
    (piece.written ? written : read) = further(piece.written ? written : read, piece);
  }
}

// The same check over all slots and the arguments outside of them, with a list of fixed size. Every pair of groups of
// slots stands in the list together once. Up to 200 slots need one list.
void check_apart(const OptimizerSlots& slots, SecondMoment second_moment, const Arguments& alone) {
  constexpr int64_t kGroup = 100, kFields = 5, kAlone = 4;  // kAlone: learning rate, step, apply and scale
  Piece pieces[2 * kGroup * kFields + kAlone];
  for (int64_t g = 0; g < slots.count; g += kGroup)
    for (int64_t h = g + kGroup; h < slots.count || h == kGroup; h += kGroup) {
      size_t count = 0;
      const auto add_group = [&](int64_t begin) {
        for (int64_t k = begin; k < std::min(begin + kGroup, slots.count); ++k)
          for_each_field(slots.slots[k], second_moment,
                         [&](const duet_const_vector& array, const char* name, bool written) {
                           const auto first = reinterpret_cast<uintptr_t>(array.data);
                           if (array.size > 0)
                             pieces[count++] = {first, first + static_cast<uintptr_t>(array.size) * sizeof(float),
                                                written, name, k};
                         });
      };
      add_group(g);
      add_group(h);
      for (const Region& region : alone.regions())
        pieces[count++] = {region.first, region.end, region.written, region.name, -1};
      check_apart({pieces, count});
    }
}

// The numbers that the inputs hold for every slot.
void check_numbers(const OptimizerSlots& slots) {
  for (int64_t k = 0; k < slots.count; ++k) {
    if (slots.decays)
      require(slots.decays[k] >= 0 && slots.decays[k] <= kLargestDecay, "inputs.slot_decay[", k,
              "]: expected 0 or more and finite, got ", slots.decays[k]);
    require(slots.low(k) <= slots.high(k), "inputs.slot_low[", k, "]: expected at most slot_high, ", slots.high(k),
            ", got ", slots.low(k));
  }
}

// An array of slot k, of so many elements. Its name is put together only where it is refused.
void check_array(const duet_const_vector& given, int64_t k, const char* field, int64_t size, Look look) {
  if (enum_value(given.dtype) != DUET_DTYPE_F32 || given.size != size || size < 0 || size > kMostElements ||
      (given.data == nullptr && size > 0 && look == Look::data) || given.reserved != 0)
    vector<const float>(given, text("slots[", k, "].", field).c_str(), size < 0 ? kAny : size, Need::required, look);
}

duet_optimizer_slots load_slots(const duet_optimizer_slots* given) {
  const auto all = load(given, "slots");
  require(all.slot_count >= 0, "slots.slot_count: expected 0 or more, got ", all.slot_count);
  require(all.slots != nullptr || all.slot_count == 0, "slots.slots: null for ", all.slot_count, " slots");
  check_element_size<duet_optimizer_slot>(all.slot_size, "slots.slot_size");
  return all;
}

template <class Inputs>
OptimizerSlots check_slots(const duet_optimizer_slots* given_slots, SecondMoment second_moment, const Inputs& inputs,
                           Arguments& arguments) {
  const duet_optimizer_slots all = load_slots(given_slots);
  const duet_optimizer_slot* const slots = all.slots;
  const int64_t count = all.slot_count;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t size = slots[k].parameter.size;
    for_each_field(slots[k], second_moment, [&](const duet_const_vector& given, const char* field, bool) {
      check_array(given, k, field, size, Look::data);
    });
  }
  const auto apply = arguments.vector<const int32_t>(inputs.apply, "inputs.apply", 1, Need::optional);
  const auto scale = arguments.vector<const float>(inputs.gradient_scale, "inputs.gradient_scale", 1, Need::optional);
  const OptimizerSlots checked{slots, count, apply, scale, inputs.slot_decay, inputs.slot_low, inputs.slot_high};
  check_numbers(checked);
  check_apart(checked, second_moment, arguments);
  return checked;
}

// Slots of which the gradients alone are used.
OptimizerSlots check_gradients(const duet_optimizer_slots* given_slots, Look look) {
  const duet_optimizer_slots all = load_slots(given_slots);
  for (int64_t k = 0; k < all.slot_count; ++k)
    check_array(all.slots[k].gradient, k, "gradient", all.slots[k].gradient.size, look);
  return {all.slots, all.slot_count, {}, {}, nullptr, nullptr, nullptr};
}

// Refuses an output, or a workspace, that shares memory with a gradient.
void check_apart_from_gradients(const OptimizerSlots& slots, const Arguments& arguments) {
  for (int64_t k = 0; k < slots.count; ++k) {
    const duet_const_vector& gradient = slots.slots[k].gradient;
    const auto first = reinterpret_cast<uintptr_t>(gradient.data);
    const uintptr_t end = first + static_cast<uintptr_t>(gradient.size) * sizeof(float);
    for (const Region& region : arguments.regions())
      require(!region.written || first >= region.end || region.first >= end, region.name, ": shares memory with slots[",
              k, "].gradient");
  }
}

size_t clip_workspace(const duet_context* context, const OptimizerSlots& slots) {
  return dispatch(
      context, [&] { return cpu::gradient_clip_workspace(slots); },
      [&] { return cuda::gradient_clip_workspace(slots); });
}

void check_fraction(float value, const char* name) {
  require(value >= 0 && value < 1, name, ": expected 0 to below 1, got ", value);
}

template <class Inputs>
void check_shared(const Inputs& inputs) {
  require(inputs.decay >= 0 && inputs.decay <= kLargestDecay, "inputs.decay: expected 0 or more and finite, got ",
          inputs.decay);
  require(inputs.teacher_momentum >= 0 && inputs.teacher_momentum <= 1,
          "inputs.teacher_momentum: expected 0 to 1, got ", inputs.teacher_momentum);
  require_reserved(inputs.reserved, "inputs.reserved");
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_gradient_clip_workspace(const duet_context* context, const duet_optimizer_slots* slots,
                                         size_t* bytes) {
  return guard("gradient_clip_workspace", [&] {
    require(bytes != nullptr, "bytes: null");
    *bytes = clip_workspace(context, check_gradients(slots, Look::shapes));
  });
}

duet_status duet_gradient_clip(duet_context* context, const duet_gradient_clip_inputs* inputs,
                               const duet_optimizer_slots* slots, const duet_gradient_clip_outputs* outputs,
                               duet_workspace workspace) {
  return guard("gradient_clip", [&] {
    Arguments arguments;
    const auto chosen = load(inputs, "inputs");
    require(chosen.limit > 0, "inputs.limit: expected above 0, got ", chosen.limit);
    require_reserved(chosen.reserved, "inputs.reserved");
    const OptimizerSlots checked = check_gradients(slots, Look::data);
    const auto to = load(outputs, "outputs");
    const auto norm = arguments.vector<float>(to.norm, "outputs.norm", 1);
    const auto scale = arguments.vector<float>(to.scale, "outputs.scale", 1);
    arguments.check(workspace, clip_workspace(context, checked));
    check_apart_from_gradients(checked, arguments);
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::gradient_clip(*context, checked, chosen.limit, norm, scale, scratch); },
        [&] { cuda::gradient_clip(*context, checked, chosen.limit, norm, scale, scratch); });
  });
}

duet_status duet_adamw_step(duet_context* context, const duet_adamw_inputs* inputs, const duet_optimizer_slots* slots) {
  return guard("adamw_step", [&] {
    Arguments arguments;
    const auto chosen = load(inputs, "inputs");
    check_fraction(chosen.beta1, "inputs.beta1");
    check_fraction(chosen.beta2, "inputs.beta2");
    require(chosen.eps > 0, "inputs.eps: expected above 0, got ", chosen.eps);
    check_shared(chosen);
    const auto rate = arguments.vector<const float>(chosen.learning_rate, "inputs.learning_rate", 1);
    const auto t = arguments.vector<const int64_t>(chosen.step, "inputs.step", 1);
    const OptimizerSlots checked = check_slots(slots, SecondMoment::used, chosen, arguments);
    // On the CPU the step can be read here; a device takes it as it is.
    if (context != nullptr && context->device == DUET_DEVICE_CPU && (!checked.apply || checked.apply[0] != 0))
      require(t[0] >= 1, "inputs.step: expected 1 or more, got ", t[0]);
    dispatch(
        context, [&] { cpu::adamw_step(*context, checked, chosen, rate, t); },
        [&] { cuda::adamw_step(*context, checked, chosen, rate, t); });
  });
}

duet_status duet_sgd_step(duet_context* context, const duet_sgd_inputs* inputs, const duet_optimizer_slots* slots) {
  return guard("sgd_step", [&] {
    Arguments arguments;
    const auto chosen = load(inputs, "inputs");
    check_fraction(chosen.momentum, "inputs.momentum");
    check_shared(chosen);
    const auto rate = arguments.vector<const float>(chosen.learning_rate, "inputs.learning_rate", 1);
    const OptimizerSlots checked = check_slots(slots, SecondMoment::unused, chosen, arguments);
    dispatch(
        context, [&] { cpu::sgd_step(*context, checked, chosen, rate); },
        [&] { cuda::sgd_step(*context, checked, chosen, rate); });
  });
}
