#include "kernels/supervision/supervision.h"

#include "kernels/core/arguments.h"
#include "kernels/core/ceil_div.h"
#include "kernels/supervision/supervision_backends.h"

namespace duet {
namespace {

bool is_share(double x) { return x >= 0 && x <= 1; }

SupervisionInputs check(const duet_supervision_inputs* given, Arguments& arguments) {
  const auto raw = load(given, "inputs");
  SupervisionInputs inputs{};
  inputs.labels = arguments.vector<const int32_t>(raw.labels, "inputs.labels", kAny);
  const int64_t samples = inputs.labels.size;
  inputs.sample_ids = arguments.vector<const int64_t>(raw.sample_ids, "inputs.sample_ids", samples);
  inputs.logits_a = arguments.matrix<const float>(raw.logits_a, "inputs.logits_a", samples, kAny);
  const int64_t classes = inputs.logits_a.columns;
  require(classes >= 1, "inputs.logits_a: expected at least 1 class, got 0");
  inputs.logits_v = arguments.matrix<const float>(raw.logits_v, "inputs.logits_v", samples, classes);
  inputs.prior = arguments.vector<const float>(raw.prior, "inputs.prior", classes);
  inputs.ratio = arguments.vector<const float>(raw.ratio, "inputs.ratio", 1);
  inputs.epoch = arguments.vector<const int64_t>(raw.epoch, "inputs.epoch", 1);
  inputs.label_sets = {arguments.matrix<const int32_t>(raw.label_sets, "inputs.label_sets", kAny, ceil_div(classes, 32),
                                                       Need::optional)};
  inputs.seed = raw.seed;
  inputs.hide = raw.hide != 0;
  inputs.lift = raw.lift != 0;
  inputs.trust = raw.trust != 0;
  inputs.momentum = raw.momentum;
  inputs.largest_lift = raw.largest_lift;
  inputs.unannotated_kappa = raw.unannotated_kappa;
  inputs.pair_weight_scale = raw.pair_weight_scale;
  inputs.unread = raw.unread;
  inputs.generality = raw.generality;
  require_reserved(raw.reserved, "inputs.reserved");
  require(is_share(inputs.momentum), "inputs.momentum: expected 0 to 1, got ", inputs.momentum);
  require(inputs.largest_lift > 0, "inputs.largest_lift: expected a positive number, got ", inputs.largest_lift);
  require(is_share(inputs.unannotated_kappa), "inputs.unannotated_kappa: expected 0 to 1, got ",
          inputs.unannotated_kappa);
  require(inputs.pair_weight_scale >= 0, "inputs.pair_weight_scale: expected 0 or more, got ",
          inputs.pair_weight_scale);
  require(is_share(inputs.unread), "inputs.unread: expected 0 to 1, got ", inputs.unread);
  require(is_share(inputs.generality), "inputs.generality: expected 0 to 1, got ", inputs.generality);
  return inputs;
}

void check_values(const duet_context* context, const SupervisionInputs& inputs) {
  const int64_t samples = inputs.labels.size, classes = inputs.logits_a.columns;
  const bool kernel_looks = dispatch(
      context, [] { return false; },
      [&] { return context->faults != nullptr && cuda::supervision_is_small(*context, samples, classes); });
  if (!kernel_looks) {
    check_within(context, inputs.labels, label_range(inputs));
    check_within(context, inputs.ratio, ratio_range());
  }
  // On the CPU the epoch is checked here. On a device its low 32 bits are used without a check.
  if (context->device == DUET_DEVICE_CPU)
    require(inputs.epoch[0] >= 0 && inputs.epoch[0] <= UINT32_MAX, "inputs.epoch: expected 0 to below 2^32, got ",
            inputs.epoch[0]);
}

size_t workspace_bytes(const duet_context* context, const SupervisionInputs& inputs) {
  const int64_t samples = inputs.labels.size, classes = inputs.logits_a.columns;
  return dispatch(
      context, [&] { return cpu::supervision_workspace(samples, classes); },
      [&] { return cuda::supervision_workspace(samples, classes); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_supervision_workspace(const duet_context* context, const duet_supervision_inputs* inputs,
                                       size_t* bytes) {
  return guard("supervision_workspace", [&] {
    Arguments arguments(Look::shapes);
    require(bytes != nullptr, "bytes: null");
    *bytes = workspace_bytes(context, check(inputs, arguments));
  });
}

duet_status duet_supervision_forward(duet_context* context, const duet_supervision_inputs* inputs,
                                     const duet_supervision_state* state, const duet_supervision_outputs* outputs,
                                     duet_workspace workspace) {
  return guard("supervision_forward", [&] {
    Arguments arguments;
    const SupervisionInputs given = check(inputs, arguments);
    const int64_t samples = given.labels.size, classes = given.logits_a.columns;
    const auto raw_state = load(state, "state");
    const auto predicted = arguments.vector<float>(raw_state.predicted, "state.predicted", classes);
    const auto concord = arguments.vector<float>(raw_state.concord, "state.concord", 1);
    const auto raw = load(outputs, "outputs");
    const auto next_predicted = arguments.vector<float>(raw.predicted, "outputs.predicted", classes, Need::optional);
    const auto next_concord = arguments.vector<float>(raw.concord, "outputs.concord", 1, Need::optional);
    require(bool(next_predicted) == bool(next_concord),
            "outputs.predicted and outputs.concord: expected both or neither");
    const SupervisionState kept{predicted, concord, next_predicted ? next_predicted : predicted,
                                next_concord ? next_concord : concord};
    const SupervisionOutputs to{
        arguments.matrix<float>(raw.class_q, "outputs.class_q", samples, classes),
        arguments.vector<float>(raw.trust, "outputs.trust", samples),
        arguments.vector<float>(raw.kappa, "outputs.kappa", samples),
        arguments.vector<float>(raw.annotated, "outputs.annotated", samples),
        arguments.vector<float>(raw.hidden_trust, "outputs.hidden_trust", samples),
        arguments.vector<float>(raw.counts, "outputs.counts", 2),
        arguments.vector<float>(raw.pair_weight, "outputs.pair_weight", 1),
        arguments.vector<float>(raw.anchor_weight, "outputs.anchor_weight", samples, Need::optional)};
    arguments.check(workspace, workspace_bytes(context, given));
    check_values(context, given);
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::supervision_forward(*context, given, kept, to, scratch); },
        [&] { cuda::supervision_forward(*context, given, kept, to, scratch); });
  });
}
