#include "kernels/step/step.h"

#include "kernels/core/arguments.h"
#include "kernels/step/step_backends.h"

namespace duet {
namespace {

int count_of(int64_t count, const void* list, int64_t most, const char* name) {
  require(count >= 0 && count <= most, name, ": expected 0 to ", most, " entries, got ", count);
  require(count == 0 || list != nullptr, name, ": null for ", count, " entries");
  return static_cast<int>(count);
}

template <class T>
T* scalar(Arguments& arguments, const VectorView<T>& view, const char* name, Need need = Need::required) {
  return arguments.vector<T>(view, name, 1, need).data;
}

StepDecision check(const duet_step_decision* given, Arguments& arguments) {
  const duet_step_decision raw = load(given, "decision");
  StepDecision decision;
  decision.total = scalar<const float>(arguments, raw.total, "decision.total");
  decision.reason_count = count_of(raw.reason_count, raw.reasons, DUET_STEP_MOST_REASONS, "decision.reasons");
  decision.move_count = count_of(raw.move_count, raw.moves, DUET_STEP_MOST_MOVES, "decision.moves");
  decision.reported_count = count_of(raw.reported_count, raw.reported, DUET_STEP_MOST_REPORTED, "decision.reported");
  check_element_size<duet_step_reason>(raw.reason_size, "decision.reason_size");
  check_element_size<duet_step_move>(raw.move_size, "decision.move_size");
  for (int k = 0; k < decision.reason_count; ++k) {
    const duet_step_reason& reason = raw.reasons[k];
    require_reserved(reason.reserved, "decision.reasons.reserved");
    decision.reasons[k] = {vector<const float>(reason.weight, "decision.reasons.weight", 1, Need::optional).data,
                           vector<const float>(reason.value, "decision.reasons.value", 1, Need::optional).data,
                           reason.more_than};
  }
  for (int k = 0; k < decision.move_count; ++k) {
    const auto from = arguments.vector<const float>(raw.moves[k].from, "decision.moves.from", kAny);
    const auto to = arguments.vector<float>(raw.moves[k].to, "decision.moves.to", from.size);
    decision.moves[k] = {to.data, from.data, from.size};
  }
  // A reported value may be one that is moved. It is read after the move.
  for (int k = 0; k < decision.reported_count; ++k) {
    const auto from = vector<const float>(raw.reported[k], "decision.reported", kAny, Need::optional);
    decision.reported[k] = {from.data, from.size};
  }
  return decision;
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_step_begin(duet_context* context, const duet_step_mail* mail, const duet_step_begin_outputs* outputs) {
  return guard("step_begin", [&] {
    Arguments arguments;
    const auto raw = load(outputs, "outputs");
    const auto given = load(mail, "mail");
    StepMail from;
    from.values = arguments.matrix<const float>(given.values, "mail.values", kAny, kAny);
    from.slots = from.values.rows;
    require(from.slots > 0, "mail.values: expected at least 1 slot, got 0");
    from.integers = arguments.matrix<const int64_t>(given.integers, "mail.integers", from.slots, kAny);
    from.indices = arguments.matrix<const int64_t>(given.indices, "mail.indices", from.slots, kAny);
    int64_t* const counter = scalar<int64_t>(arguments, raw.begun, "outputs.begun");
    const StepTaken taken{arguments.vector<float>(raw.values, "outputs.values", from.values.columns),
                          arguments.vector<int64_t>(raw.integers, "outputs.integers", from.integers.columns),
                          arguments.vector<int64_t>(raw.indices, "outputs.indices", kAny)};
    require(taken.indices.size <= from.indices.columns, "outputs.indices: expected at most ", from.indices.columns,
            " (the indices of a slot), got ", taken.indices.size);
    arguments.check();
    dispatch(
        context, [&] { cpu::step_begin(*context, from, counter, taken); },
        [&] { cuda::step_begin(*context, from, counter, taken); });
  });
}

duet_status duet_step_decide(duet_context* context, const duet_step_decision* decision,
                             const duet_step_counters* counters, const duet_step_report* report) {
  return guard("step_decide", [&] {
    Arguments arguments;
    const StepDecision given = check(decision, arguments);
    const duet_step_counters raw_counters = load(counters, "counters");
    const StepCounters counted{scalar<int64_t>(arguments, raw_counters.begun, "counters.begun"),
                               scalar<int64_t>(arguments, raw_counters.updates, "counters.updates"),
                               scalar<int64_t>(arguments, raw_counters.failed, "counters.failed")};
    const duet_step_report raw = load(report, "report");
    int64_t width = 0;
    for (int k = 0; k < given.reported_count; ++k) width += given.reported[k].size;
    StepReport to;
    to.apply = scalar<int32_t>(arguments, raw.apply, "report.apply");
    to.verdicts = arguments.matrix<int64_t>(raw.verdicts, "report.verdicts", kAny, 1);
    require(to.verdicts.rows > 0, "report.verdicts: expected at least 1 slot, got 0");
    to.values = arguments.matrix<float>(raw.values, "report.values", to.verdicts.rows, width);
    to.faults = raw.faults;
    arguments.check();
    dispatch(
        context, [&] { cpu::step_decide(*context, given, counted, to); },
        [&] { cuda::step_decide(*context, given, counted, to); });
  });
}

duet_status duet_step_scale_forward(duet_context* context, const duet_step_scale_inputs* inputs,
                                    const duet_step_scale_outputs* outputs) {
  return guard("step_scale_forward", [&] {
    Arguments arguments;
    const auto* const from = scalar<const float>(arguments, load(inputs, "inputs").logarithm, "inputs.logarithm");
    auto* const to = scalar<float>(arguments, load(outputs, "outputs").scale, "outputs.scale");
    arguments.check();
    dispatch(
        context, [&] { cpu::step_scale_forward(*context, from, to); },
        [&] { cuda::step_scale_forward(*context, from, to); });
  });
}

duet_status duet_step_scale_backward(duet_context* context, const duet_step_scale_inputs* inputs,
                                     const duet_step_scale_gradients* gradients) {
  return guard("step_scale_backward", [&] {
    Arguments arguments;
    load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    const auto* const at = scalar<const float>(arguments, raw.scale, "gradients.scale");
    const auto* const upstream = scalar<const float>(arguments, raw.grad_scale, "gradients.grad_scale");
    auto* const to = scalar<float>(arguments, raw.grad_logarithm, "gradients.grad_logarithm");
    arguments.check();
    dispatch(
        context, [&] { cpu::step_scale_backward(*context, at, upstream, to); },
        [&] { cuda::step_scale_backward(*context, at, upstream, to); });
  });
}
