#include "kernels/normalization/normalization.h"

#include "kernels/core/arguments.h"
#include "kernels/normalization/normalization_backends.h"

namespace duet {
namespace {

void check_eps(float eps) { require(eps > 0 && eps <= 3e38f, "eps: expected above 0 and finite, got ", eps); }

LayerNormInputs check_inputs(const duet_context* context, const duet_layer_norm_inputs* given, Arguments& arguments) {
  const auto inputs = load(given, "inputs");
  const auto x = arguments.matrix<const float>(inputs.x, "x", kAny, kAny);
  check_eps(inputs.eps);
  LayerNormInputs checked{x,
                          arguments.vector<const float>(inputs.gain, "gain", x.columns, Need::optional),
                          arguments.vector<const float>(inputs.offset, "offset", x.columns, Need::optional),
                          inputs.eps,
                          inputs.fuses != 0,
                          DUET_ACTIVATION_KIND_RELU,
                          {}};
  if (!checked.fuses) return checked;
  checked.activation =
      enumerator(inputs.activation, "activation", DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_GELU);
  if (inputs.dropout.drop_probability != 0)
    checked.dropout = check_dropout(context, &inputs.dropout, "dropout", x.rows, x.columns, arguments);
  return checked;
}

size_t workspace_bytes(const duet_context* context, Matrix<const float> x, bool fuses, bool drops) {
  return dispatch(
      context, [&] { return cpu::layer_norm_workspace(x, fuses, drops); },
      [&] { return cuda::layer_norm_workspace(x, fuses, drops); });
}
size_t workspace_bytes(const duet_context* context, const LayerNormInputs& inputs) {
  return workspace_bytes(context, inputs.x, inputs.fuses, inputs.drops());
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_normalization_workspace(const duet_context* context, duet_matrix x, size_t* bytes) {
  return guard("normalization_workspace", [&] {
    Arguments arguments;
    require(bytes != nullptr, "bytes: null");
    const auto from = arguments.matrix<const float>(x, "x", kAny, kAny);
    *bytes = workspace_bytes(context, from, false, false);
  });
}

duet_status duet_unit_rows_forward(duet_context* context, duet_matrix x, float eps, duet_matrix outputs) {
  return guard("unit_rows_forward", [&] {
    Arguments arguments;
    const auto from = arguments.matrix<const float>(x, "x", kAny, kAny);
    check_eps(eps);
    const auto to = arguments.matrix<float>(outputs, "outputs", from.rows, from.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::unit_rows_forward(*context, from, eps, to); },
        [&] { cuda::unit_rows_forward(*context, from, eps, to); });
  });
}

duet_status duet_unit_rows_backward(duet_context* context, duet_matrix x, float eps, duet_matrix grad_outputs,
                                    duet_matrix grad_x) {
  return guard("unit_rows_backward", [&] {
    Arguments arguments;
    const auto from = arguments.matrix<const float>(x, "x", kAny, kAny);
    check_eps(eps);
    const auto upstream = arguments.matrix<const float>(grad_outputs, "grad_outputs", from.rows, from.columns);
    const auto to = arguments.matrix<float>(grad_x, "grad_x", from.rows, from.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::unit_rows_backward(*context, from, eps, upstream, to); },
        [&] { cuda::unit_rows_backward(*context, from, eps, upstream, to); });
  });
}

duet_status duet_layer_norm_workspace(const duet_context* context, const duet_layer_norm_inputs* inputs,
                                      size_t* bytes) {
  return guard("layer_norm_workspace", [&] {
    Arguments arguments;
    require(bytes != nullptr, "bytes: null");
    *bytes = workspace_bytes(context, check_inputs(context, inputs, arguments));
  });
}

duet_status duet_layer_norm_forward(duet_context* context, const duet_layer_norm_inputs* inputs, duet_matrix outputs) {
  return guard("layer_norm_forward", [&] {
    Arguments arguments;
    const LayerNormInputs checked = check_inputs(context, inputs, arguments);
    const auto to = arguments.matrix<float>(outputs, "outputs", checked.x.rows, checked.x.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::layer_norm_forward(*context, checked, to); },
        [&] { cuda::layer_norm_forward(*context, checked, to); });
  });
}

duet_status duet_layer_norm_backward(duet_context* context, const duet_layer_norm_inputs* inputs,
                                     duet_matrix grad_outputs, duet_matrix grad_x, duet_vector grad_gain,
                                     duet_vector grad_offset, duet_workspace workspace) {
  return guard("layer_norm_backward", [&] {
    Arguments arguments;
    const LayerNormInputs checked = check_inputs(context, inputs, arguments);
    const auto upstream =
        arguments.matrix<const float>(grad_outputs, "grad_outputs", checked.x.rows, checked.x.columns);
    const LayerNormGradients gradients{
        arguments.matrix<float>(grad_x, "grad_x", checked.x.rows, checked.x.columns, Need::optional),
        arguments.vector<float>(grad_gain, "grad_gain", checked.x.columns, Need::optional),
        arguments.vector<float>(grad_offset, "grad_offset", checked.x.columns, Need::optional)};
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::layer_norm_backward(*context, checked, upstream, gradients, scratch); },
        [&] { cuda::layer_norm_backward(*context, checked, upstream, gradients, scratch); });
  });
}
