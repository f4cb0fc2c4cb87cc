#include "runtime/optimizer.h"

#include <array>

#include "kernels/core/error.h"

namespace duet {
namespace {

template <class Options>
Options with_decay(Options options, bool decays) {
  if (!decays) options.decay = 0;
  return options;
}

}  // namespace

void ParameterSlots::collect() {
  std::array<Tensor, kParameterKinds> all;
  for (int kind = 0; kind < kParameterKinds; ++kind) all[static_cast<size_t>(kind)] = store_.all(ParameterKind{kind});
  for (int64_t first = 0, next = 0; first < store_.count(); first = next) {
    const Parameter& parameter = store_.parameter(first);
    while (next < store_.count() && store_.parameter(next).decays == parameter.decays) ++next;
    const int64_t end = next < store_.count() ? store_.parameter(next).offset : all[0].rows;
    const auto part = [&](ParameterKind kind) { return all[static_cast<size_t>(kind)].row_part(parameter.offset, end - parameter.offset).vector(); };
    (parameter.decays ? decaying_ : others_)
        .push_back({part(ParameterKind::value), part(ParameterKind::gradient), part(ParameterKind::first_moment), part(ParameterKind::second_moment),
                    part(ParameterKind::teacher)});
  }
}

void AdamW::step(duet_context* context, const Tensor& learning_rate, Step step) {
  slots_.update([&](const duet_optimizer_slot* slots, int64_t count, bool decays) {
    const duet_adamw_options options = with_decay(options_, decays);
    succeed(duet_adamw_step(context, slots, count, &options, learning_rate.vector(), step.vector()));
  });
}

void Sgd::step(duet_context* context, const Tensor& learning_rate, Step) {
  slots_.update([&](const duet_optimizer_slot* slots, int64_t count, bool decays) {
    const duet_sgd_options options = with_decay(options_, decays);
    succeed(duet_sgd_step(context, slots, count, &options, learning_rate.vector()));
  });
}

}  // namespace duet
