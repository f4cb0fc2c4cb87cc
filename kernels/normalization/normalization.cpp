#include "kernels/normalization/normalization.h"

#include "kernels/core/arguments.h"
#include "kernels/core/norm.h"
#include "kernels/normalization/normalization_backends.h"

namespace duet {
namespace {

constexpr float kUnitRowsEps = static_cast<float>(kSmallestNorm), kLayerNormEps = 1e-5f;

float checked_eps(float eps, float otherwise) {
  require(eps >= 0 && eps <= 3e38f, "inputs.eps: expected above 0 and finite, or 0 for the default, got ", eps);
  return eps == 0 ? otherwise : eps;
}

LayerNormInputs check_inputs(const duet_context* context, const duet_layer_norm_inputs* given, Arguments& arguments) {
  const auto inputs = load(given, "inputs");
  const auto x = arguments.matrix<const float>(inputs.x, "inputs.x", kAny, kAny);
  require_reserved(inputs.reserved, "inputs.reserved");
  LayerNormInputs checked{x,
                          arguments.vector<const float>(inputs.gain, "inputs.gain", x.columns, Need::optional),
                          arguments.vector<const float>(inputs.offset, "inputs.offset", x.columns, Need::optional),
                          checked_eps(inputs.eps, kLayerNormEps),
                          inputs.fuses != 0,
                          DUET_ACTIVATION_KIND_RELU,
                          {}};
  if (!checked.fuses) return checked;
  checked.activation =
      enumerator(inputs.activation, "inputs.activation", DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_GELU);
  if (drops(inputs.dropout)) checked.dropout = check_dropout(context, inputs.dropout, x.rows, x.columns, arguments);
  return checked;
}

size_t workspace_bytes(const duet_context* context, const LayerNormInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::layer_norm_workspace(inputs.x, inputs.fuses, inputs.drops()); },
      [&] { return cuda::layer_norm_workspace(inputs.x, inputs.fuses, inputs.drops()); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_unit_rows_forward(duet_context* context, const duet_unit_rows_inputs* inputs,
                                   const duet_unit_rows_outputs* outputs) {
  return guard("unit_rows_forward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const auto from = arguments.matrix<const float>(given.x, "inputs.x", kAny, kAny);
    require_reserved(given.reserved, "inputs.reserved");
    const float eps = checked_eps(given.eps, kUnitRowsEps);
    const auto to = arguments.matrix<float>(raw.outputs, "outputs.outputs", from.rows, from.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::unit_rows_forward(*context, from, eps, to); },
        [&] { cuda::unit_rows_forward(*context, from, eps, to); });
  });
}

duet_status duet_unit_rows_backward(duet_context* context, const duet_unit_rows_inputs* inputs,
                                    const duet_unit_rows_gradients* gradients) {
  return guard("unit_rows_backward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    const auto from = arguments.matrix<const float>(given.x, "inputs.x", kAny, kAny);
    require_reserved(given.reserved, "inputs.reserved");
    const float eps = checked_eps(given.eps, kUnitRowsEps);
    const auto upstream =
        arguments.matrix<const float>(raw.grad_outputs, "gradients.grad_outputs", from.rows, from.columns);
    const auto to = arguments.matrix<float>(raw.grad_x, "gradients.grad_x", from.rows, from.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::unit_rows_backward(*context, from, eps, upstream, to); },
        [&] { cuda::unit_rows_backward(*context, from, eps, upstream, to); });
  });
}

duet_status duet_layer_norm_workspace(const duet_context* context, const duet_layer_norm_inputs* inputs,
                                      size_t* bytes) {
  return guard("layer_norm_workspace", [&] {
    Arguments arguments(Look::shapes);
    require(bytes != nullptr, "bytes: null");
    *bytes = workspace_bytes(context, check_inputs(context, inputs, arguments));
  });
}

duet_status duet_layer_norm_forward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                    const duet_layer_norm_outputs* outputs) {
  return guard("layer_norm_forward", [&] {
    Arguments arguments;
    const auto raw = load(outputs, "outputs");
    const LayerNormInputs checked = check_inputs(context, inputs, arguments);
    const auto to = arguments.matrix<float>(raw.outputs, "outputs.outputs", checked.x.rows, checked.x.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::layer_norm_forward(*context, checked, to); },
        [&] { cuda::layer_norm_forward(*context, checked, to); });
  });
}

duet_status duet_layer_norm_backward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                     const duet_layer_norm_gradients* gradients, duet_workspace workspace) {
  return guard("layer_norm_backward", [&] {
    Arguments arguments;
    const auto raw = load(gradients, "gradients");
    const LayerNormInputs checked = check_inputs(context, inputs, arguments);
    const auto upstream =
        arguments.matrix<const float>(raw.grad_outputs, "gradients.grad_outputs", checked.x.rows, checked.x.columns);
    const LayerNormGradients gradients{
        arguments.matrix<float>(raw.grad_x, "gradients.grad_x", checked.x.rows, checked.x.columns, Need::optional),
        arguments.vector<float>(raw.grad_gain, "gradients.grad_gain", checked.x.columns, Need::optional),
        arguments.vector<float>(raw.grad_offset, "gradients.grad_offset", checked.x.columns, Need::optional)};
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::layer_norm_backward(*context, checked, upstream, gradients, scratch); },
        [&] { cuda::layer_norm_backward(*context, checked, upstream, gradients, scratch); });
  });
}
