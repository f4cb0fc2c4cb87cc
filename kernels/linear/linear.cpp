#include "kernels/linear/linear.h"

#include <cmath>

#include "kernels/core/arguments.h"
#include "kernels/linear/linear_backends.h"

namespace duet {
namespace {

LinearInputs check_inputs(const duet_context* context, const duet_linear_inputs* given, Arguments& arguments) {
  const auto inputs = load(given, "inputs");
  const auto weight = arguments.matrix<const float>(inputs.weight, "inputs.weight", kAny, kAny);
  const auto x = arguments.matrix<const float>(inputs.x, "inputs.x", kAny, weight.columns);
  require(std::isfinite(inputs.output_scale), "inputs.output_scale: expected a finite number, got ",
          inputs.output_scale);
  const bool dropped = drops(inputs.dropout);
  require(inputs.relu || !dropped, "inputs.dropout.drop_probability: expected 0 without relu");
  return {x,
          weight,
          arguments.vector<const float>(inputs.bias, "inputs.bias", weight.rows, Need::optional),
          inputs.output_scale == 0 ? 1 : inputs.output_scale,
          inputs.relu != 0,
          dropped ? check_dropout(context, inputs.dropout, x.rows, weight.rows, arguments) : Dropout{}};
}

size_t workspace_bytes(const duet_context* context, const LinearInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::linear_workspace(*context, inputs); },
      [&] { return cuda::linear_workspace(*context, inputs); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_linear_workspace(const duet_context* context, const duet_linear_inputs* inputs, size_t* bytes) {
  return guard("linear_workspace", [&] {
    Arguments arguments(Look::shapes);
    require(bytes != nullptr, "bytes: null");
    const LinearInputs checked = check_inputs(context, inputs, arguments);
    *bytes = workspace_bytes(context, checked);
  });
}

duet_status duet_linear_forward(duet_context* context, const duet_linear_inputs* inputs,
                                const duet_linear_outputs* outputs, duet_workspace workspace) {
  return guard("linear_forward", [&] {
    Arguments arguments;
    const auto raw = load(outputs, "outputs");
    const LinearInputs checked = check_inputs(context, inputs, arguments);
    const auto to = arguments.matrix<float>(raw.outputs, "outputs.outputs", checked.x.rows, checked.weight.rows);
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::linear_forward(*context, checked, to, scratch); },
        [&] { cuda::linear_forward(*context, checked, to, scratch); });
  });
}

duet_status duet_linear_backward(duet_context* context, const duet_linear_inputs* inputs,
                                 const duet_linear_gradients* gradients, duet_workspace workspace) {
  return guard("linear_backward", [&] {
    Arguments arguments;
    const auto raw = load(gradients, "gradients");
    const LinearInputs checked = check_inputs(context, inputs, arguments);
    const auto from =
        arguments.matrix<const float>(raw.outputs, "gradients.outputs", checked.x.rows, checked.weight.rows,
                                      checked.relu ? Need::required : Need::optional);
    const auto upstream =
        arguments.matrix<const float>(raw.grad_outputs, "gradients.grad_outputs", checked.x.rows, checked.weight.rows);
    const LinearGradients gradients{
        arguments.matrix<float>(raw.grad_x, "gradients.grad_x", checked.x.rows, checked.x.columns, Need::optional),
        arguments.matrix<float>(raw.grad_weight, "gradients.grad_weight", checked.weight.rows, checked.weight.columns,
                                Need::optional),
        arguments.vector<float>(raw.grad_bias, "gradients.grad_bias", checked.weight.rows, Need::optional)};
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::linear_backward(*context, checked, from, upstream, gradients, scratch); },
        [&] { cuda::linear_backward(*context, checked, from, upstream, gradients, scratch); });
  });
}
