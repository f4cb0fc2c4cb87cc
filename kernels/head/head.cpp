#include "kernels/head/head.h"

#include <cmath>

#include "kernels/core/arguments.h"
#include "kernels/core/norm.h"
#include "kernels/head/head_backends.h"

namespace duet {
namespace {

// The names of an array's matrices in messages.
using Names = const char* const[kMostModalities];
constexpr Names kX{"inputs.x[0]", "inputs.x[1]", "inputs.x[2]", "inputs.x[3]"},
    kU{"outputs.u[0]", "outputs.u[1]", "outputs.u[2]", "outputs.u[3]"},
    kGivenU{"gradients.u[0]", "gradients.u[1]", "gradients.u[2]", "gradients.u[3]"},
    kLogits{"outputs.logits[0]", "outputs.logits[1]", "outputs.logits[2]", "outputs.logits[3]"},
    kGradU{"gradients.grad_u[0]", "gradients.grad_u[1]", "gradients.grad_u[2]", "gradients.grad_u[3]"},
    kGradLogits{"gradients.grad_logits[0]", "gradients.grad_logits[1]", "gradients.grad_logits[2]",
                "gradients.grad_logits[3]"},
    kGradX{"gradients.grad_x[0]", "gradients.grad_x[1]", "gradients.grad_x[2]", "gradients.grad_x[3]"};

HeadInputs check_inputs(const duet_head_inputs* given, Arguments& arguments) {
  const auto inputs = load(given, "inputs");
  require(inputs.count >= 1 && inputs.count <= kMostModalities, "inputs.count: expected 1 to ", kMostModalities,
          ", got ", inputs.count);
  require(inputs.x != nullptr, "inputs.x: null for ", inputs.count, " matrices");
  require(inputs.eps >= 0 && inputs.eps <= 3e38f, "inputs.eps: expected above 0 and finite, or 0 for the default, got ",
          inputs.eps);
  require(std::isfinite(inputs.output_scale), "inputs.output_scale: expected a finite number, got ",
          inputs.output_scale);
  HeadInputs checked{inputs.count,
                     {},
                     arguments.matrix<const float>(inputs.weight, "inputs.weight", kAny, kAny),
                     {},
                     inputs.eps == 0 ? static_cast<float>(kSmallestNorm) : inputs.eps,
                     inputs.output_scale == 0 ? 1 : inputs.output_scale};
  checked.bias = arguments.vector<const float>(inputs.bias, "inputs.bias", checked.classes(), Need::optional);
  for (int64_t k = 0; k < inputs.count; ++k)
    checked.x[k] = arguments.matrix<const float>(inputs.x[k], kX[k], k == 0 ? kAny : checked.rows(), checked.columns());
  return checked;
}

// A matrix of B x columns for every modality. An optional one is absent where the array is null or has no columns.
template <class T>
void take(Arguments& arguments, const HeadInputs& inputs, const MatrixView<T>* given, const char* name, Names names,
          int64_t columns, Need need, Matrix<T>* to) {
  require(given != nullptr || need == Need::optional, name, ": null for ", inputs.count, " matrices");
  for (int64_t k = 0; given && k < inputs.count; ++k) {
    const auto checked = arguments.matrix<T>(given[k], names[k], inputs.rows(), columns, need);
    if (columns > 0 || need == Need::required) to[k] = checked;
  }
}

size_t workspace_bytes(const duet_context* context, const HeadInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::head_workspace(*context, inputs); },
      [&] { return cuda::head_workspace(*context, inputs); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_head_workspace(const duet_context* context, const duet_head_inputs* inputs, size_t* bytes) {
  return guard("head_workspace", [&] {
    Arguments arguments(Look::shapes);
    require(bytes != nullptr, "bytes: null");
    *bytes = workspace_bytes(context, check_inputs(inputs, arguments));
  });
}

duet_status duet_head_forward(duet_context* context, const duet_head_inputs* inputs, const duet_head_outputs* outputs,
                              duet_workspace workspace) {
  return guard("head_forward", [&] {
    Arguments arguments;
    const auto raw = load(outputs, "outputs");
    const HeadInputs checked = check_inputs(inputs, arguments);
    HeadOutputs outputs;
    take(arguments, checked, raw.u, "outputs.u", kU, checked.columns(), Need::required, outputs.u);
    take(arguments, checked, raw.logits, "outputs.logits", kLogits, checked.classes(), Need::required, outputs.logits);
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::head_forward(*context, checked, outputs, scratch); },
        [&] { cuda::head_forward(*context, checked, outputs, scratch); });
  });
}

duet_status duet_head_backward(duet_context* context, const duet_head_inputs* inputs,
                               const duet_head_gradients* gradients, duet_workspace workspace) {
  return guard("head_backward", [&] {
    Arguments arguments;
    const auto raw = load(gradients, "gradients");
    const HeadInputs checked = check_inputs(inputs, arguments);
    HeadUpstream upstream;
    take(arguments, checked, raw.u, "gradients.u", kGivenU, checked.columns(), Need::required, upstream.u);
    take(arguments, checked, raw.grad_u, "gradients.grad_u", kGradU, checked.columns(), Need::optional, upstream.by_u);
    take(arguments, checked, raw.grad_logits, "gradients.grad_logits", kGradLogits, checked.classes(), Need::optional,
         upstream.by_logits);
    HeadGradients gradients;
    take(arguments, checked, raw.grad_x, "gradients.grad_x", kGradX, checked.columns(), Need::optional, gradients.x);
    gradients.weight = arguments.matrix<float>(raw.grad_weight, "gradients.grad_weight", checked.classes(),
                                               checked.columns(), Need::optional);
    gradients.bias = arguments.vector<float>(raw.grad_bias, "gradients.grad_bias", checked.classes(), Need::optional);
    arguments.check(workspace, workspace_bytes(context, checked));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::head_backward(*context, checked, upstream, gradients, scratch); },
        [&] { cuda::head_backward(*context, checked, upstream, gradients, scratch); });
  });
}
