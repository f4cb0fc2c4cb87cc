#include "kernels/alignment/alignment.h"

#include "kernels/alignment/alignment_backends.h"
#include "kernels/core/arguments.h"

using namespace duet;

namespace {

AlignmentInputs check(const duet_alignment_inputs* given, Arguments& arguments) {
  const duet_alignment_inputs inputs = load(given, "inputs");
  const duet_metric score = enumerator(inputs.score, "inputs.score", DUET_METRIC_INNER, DUET_METRIC_COSINE);
  const auto a = arguments.side(inputs.a, "inputs.a", kAny), v = arguments.side(inputs.v, "inputs.v", a.columns);
  check_first(inputs.first_row, a.rows, "inputs", ".first_row");
  check_first(inputs.first_column, v.rows, "inputs", ".first_column");
  return {score,
          a,
          v,
          arguments.vector<const float>(inputs.scale, "inputs.scale", 1),
          inputs.exclude_own != 0,
          inputs.first_row,
          inputs.first_column};
}

// Raw: the gradients of either backward pass.
template <class Raw>
AlignmentGradients check(const AlignmentInputs& inputs, const Raw& raw, Arguments& arguments) {
  return {arguments.matrix<float>(raw.grad_a, "gradients.grad_a", inputs.a.rows, inputs.a.columns, Need::optional),
          arguments.matrix<float>(raw.grad_v, "gradients.grad_v", inputs.v.rows, inputs.v.columns, Need::optional),
          arguments.vector<float>(raw.grad_scale, "gradients.grad_scale", 1, Need::optional)};
}

size_t needed(const duet_context* context, const AlignmentInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::alignment_workspace(*context, inputs); },
      [&] { return cuda::alignment_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_alignment_workspace(const duet_context* context, const duet_alignment_inputs* inputs, size_t* bytes) {
  return guard("alignment_workspace", [&] {
    Arguments arguments(Look::shapes);
    const AlignmentInputs checked = check(inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked) + arguments.reserved();
  });
}

duet_status duet_alignment_forward(duet_context* context, const duet_alignment_inputs* inputs,
                                   const duet_alignment_outputs* outputs, duet_workspace workspace) {
  return guard("alignment_forward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const AlignmentInputs checked = check(inputs, arguments);
    const auto row = arguments.vector<float>(raw.lse_row, "outputs.lse_row", checked.a.rows, Need::optional);
    const auto column = arguments.vector<float>(raw.lse_column, "outputs.lse_column", checked.v.rows, Need::optional);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::alignment_forward(*context, checked, row, column, workspace); },
        [&] { cuda::alignment_forward(*context, checked, row, column, workspace); });
  });
}

duet_status duet_alignment_backward(duet_context* context, const duet_alignment_inputs* inputs,
                                    const duet_alignment_gradients* gradients, duet_workspace workspace) {
  return guard("alignment_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const AlignmentInputs checked = check(inputs, arguments);
    const auto grad_row =
        arguments.vector<const float>(raw.grad_lse_row, "gradients.grad_lse_row", checked.a.rows, Need::optional);
    const auto grad_column =
        arguments.vector<const float>(raw.grad_lse_column, "gradients.grad_lse_column", checked.v.rows, Need::optional);
    const auto row = arguments.vector<const float>(raw.lse_row, "gradients.lse_row", checked.a.rows,
                                                   grad_row ? Need::required : Need::optional);
    const auto column = arguments.vector<const float>(raw.lse_column, "gradients.lse_column", checked.v.rows,
                                                      grad_column ? Need::required : Need::optional);
    const AlignmentGradients gradients = check(checked, raw, arguments);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context,
        [&] { cpu::alignment_backward(*context, checked, row, column, grad_row, grad_column, gradients, workspace); },
        [&] { cuda::alignment_backward(*context, checked, row, column, grad_row, grad_column, gradients, workspace); });
  });
}

duet_status duet_alignment_probabilities(duet_context* context, const duet_alignment_inputs* inputs,
                                         const duet_alignment_probabilities_outputs* outputs,
                                         duet_workspace workspace) {
  return guard("alignment_probabilities", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const AlignmentInputs checked = check(inputs, arguments);
    const auto row = arguments.vector<const float>(raw.lse_row, "outputs.lse_row", checked.a.rows);
    const auto out =
        arguments.matrix<float>(raw.probabilities, "outputs.probabilities", checked.a.rows, checked.v.rows);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::alignment_probabilities(*context, checked, row, out, workspace); },
        [&] { cuda::alignment_probabilities(*context, checked, row, out, workspace); });
  });
}

duet_status duet_alignment_probabilities_backward(duet_context* context, const duet_alignment_inputs* inputs,
                                                  const duet_alignment_probabilities_gradients* gradients,
                                                  duet_workspace workspace) {
  return guard("alignment_probabilities_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const AlignmentInputs checked = check(inputs, arguments);
    const auto p =
        arguments.matrix<const float>(raw.probabilities, "gradients.probabilities", checked.a.rows, checked.v.rows);
    const auto grad = arguments.matrix<const float>(raw.grad_probabilities, "gradients.grad_probabilities",
                                                    checked.a.rows, checked.v.rows);
    const AlignmentGradients gradients = check(checked, raw, arguments);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::alignment_probabilities_backward(*context, checked, p, grad, gradients, workspace); },
        [&] { cuda::alignment_probabilities_backward(*context, checked, p, grad, gradients, workspace); });
  });
}
