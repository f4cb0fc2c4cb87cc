#include "kernels/optimizer/optimizer.h"

#include "kernels/optimizer/optimizer_backends.h"

namespace duet {
namespace {

enum class SecondMoment { used, unused };

OptimizerSlots check_slots(const duet_optimizer_slot* slots, int64_t count, SecondMoment second_moment) {
  require(count >= 0, "slot_count: expected 0 or more, got ", count);
  require(slots != nullptr || count == 0, "slots: null for ", count, " slots");
  for (int64_t k = 0; k < count; ++k) {
    const int64_t size = slots[k].parameter.size;
    // The name is put together only for an array that is refused.
    const auto check = [&](const duet_vector& given, const char* field) {
      if (given.dtype != DUET_F32 || given.size != size || size < 0 || (given.data == nullptr && size > 0))
        vector<float>(given, text("slots[", k, "].", field).c_str(), size < 0 ? kAny : size);
    };
    check(slots[k].parameter, "parameter");
    check(slots[k].gradient, "gradient");
    check(slots[k].first_moment, "first_moment");
    if (second_moment == SecondMoment::used) check(slots[k].second_moment, "second_moment");
    if (slots[k].teacher.data != nullptr || slots[k].teacher.size != 0) check(slots[k].teacher, "teacher");
  }
  return {slots, count};
}

void check_fraction(float value, const char* name) { require(value >= 0 && value < 1, name, ": expected 0 to below 1, got ", value); }

void check_shared(float decay, float teacher_momentum) {
  require(decay >= 0 && decay <= 3e38f, "options.decay: expected 0 or more and finite, got ", decay);
  require(teacher_momentum >= 0 && teacher_momentum <= 1, "options.teacher_momentum: expected 0 to 1, got ", teacher_momentum);
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_adamw_step(duet_context* context, const duet_optimizer_slot* slots, int64_t slot_count, const duet_adamw_options* options,
                            duet_vector learning_rate, duet_vector step) {
  return guard("adamw_step", [&] {
    const auto chosen = load(options, "options");
    check_fraction(chosen.beta1, "options.beta1");
    check_fraction(chosen.beta2, "options.beta2");
    require(chosen.eps > 0, "options.eps: expected above 0, got ", chosen.eps);
    check_shared(chosen.decay, chosen.teacher_momentum);
    const auto rate = vector<const float>(learning_rate, "learning_rate", 1);
    const auto t = vector<const int64_t>(step, "step", 1);
    // On the CPU the step can be read here; a device takes it as it is.
    if (context != nullptr && context->device == DUET_CPU) require(t[0] >= 1, "step: expected 1 or more, got ", t[0]);
    const OptimizerSlots checked = check_slots(slots, slot_count, SecondMoment::used);
    dispatch(
        context, [&] { cpu::adamw_step(*context, checked, chosen, rate, t); }, [&] { cuda::adamw_step(*context, checked, chosen, rate, t); });
  });
}

duet_status duet_sgd_step(duet_context* context, const duet_optimizer_slot* slots, int64_t slot_count, const duet_sgd_options* options,
                          duet_vector learning_rate) {
  return guard("sgd_step", [&] {
    const auto chosen = load(options, "options");
    check_fraction(chosen.momentum, "options.momentum");
    check_shared(chosen.decay, chosen.teacher_momentum);
    const auto rate = vector<const float>(learning_rate, "learning_rate", 1);
    const OptimizerSlots checked = check_slots(slots, slot_count, SecondMoment::unused);
    dispatch(
        context, [&] { cpu::sgd_step(*context, checked, chosen, rate); }, [&] { cuda::sgd_step(*context, checked, chosen, rate); });
  });
}
