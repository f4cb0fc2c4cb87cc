#include "kernels/linear/linear.h"

#include <cmath>

#include "kernels/core/arguments.h"
#include "kernels/linear/linear_backends.h"

namespace duet {
namespace {

LinearInputs check_inputs(const duet_context* context, const duet_linear_inputs* given, Arguments& arguments) {
  const auto inputs = load(given, "inputs");
  const auto weight = arguments.matrix<const float>(inputs.weight, "weight", kAny, kAny);
  const auto x = arguments.matrix<const float>(inputs.x, "x", kAny, weight.columns);
  // 0 is refused too, because a struct that was not set by its _INIT holds 0.
  require(std::isfinite(inputs.output_scale) && inputs.output_scale != 0,
          "output_scale: expected a finite number other than 0, got ", inputs.output_scale);
  const bool drops = inputs.dropout.drop_probability != 0;
  require(inputs.relu || !drops, "dropout.drop_probability: expected 0 without relu, got ",
          inputs.dropout.drop_probability);
  return {x,
          weight,
          arguments.vector<const float>(inputs.bias, "bias", weight.rows, Need::optional),
          inputs.output_scale,
          inputs.relu != 0,
          drops ? check_dropout(context, &inputs.dropout, "dropout", x.rows, weight.rows, arguments) : Dropout{}};
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
    Arguments arguments;
    require(bytes != nullptr, "bytes: null");
    const LinearInputs checked = check_inputs(context, inputs, arguments);
    *bytes = workspace_bytes(context, checked);
  });
}

duet_status duet_linear_forward(duet_context* context, const duet_linear_inputs* inputs, duet_matrix outputs,
                                duet_workspace workspace) {
  return guard("linear_forward", [&] {
    Arguments arguments;
    const LinearInputs checked = check_inputs(context, inputs, arguments);
    const auto to = arguments.matrix<float>(outputs, "outputs", checked.x.rows, checked.weight.rows);
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::linear_forward(*context, checked, to, scratch); },
        [&] { cuda::linear_forward(*context, checked, to, scratch); });
  });
}

duet_status duet_linear_backward(duet_context* context, const duet_linear_inputs* inputs, duet_matrix outputs,
                                 duet_matrix grad_outputs, duet_matrix grad_x, duet_matrix grad_weight,
                                 duet_vector grad_bias, duet_workspace workspace) {
  return guard("linear_backward", [&] {
    Arguments arguments;
    const LinearInputs checked = check_inputs(context, inputs, arguments);
    const auto from = arguments.matrix<const float>(outputs, "outputs", checked.x.rows, checked.weight.rows,
                                                    checked.relu ? Need::required : Need::optional);
    const auto upstream =
        arguments.matrix<const float>(grad_outputs, "grad_outputs", checked.x.rows, checked.weight.rows);
    const LinearGradients gradients{
        arguments.matrix<float>(grad_x, "grad_x", checked.x.rows, checked.x.columns, Need::optional),
        arguments.matrix<float>(grad_weight, "grad_weight", checked.weight.rows, checked.weight.columns,
                                Need::optional),
        arguments.vector<float>(grad_bias, "grad_bias", checked.weight.rows, Need::optional)};
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::linear_backward(*context, checked, from, upstream, gradients, scratch); },
        [&] { cuda::linear_backward(*context, checked, from, upstream, gradients, scratch); });
  });
}
