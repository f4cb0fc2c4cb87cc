#include "kernels/alignment/alignment.h"

#include "kernels/alignment/alignment_backends.h"

using namespace duet;

namespace {

AlignmentInputs check(const duet_alignment_inputs* given) {
  const duet_alignment_inputs inputs = load(given, "inputs");
  require(inputs.score >= DUET_SQEUCLIDEAN && inputs.score <= DUET_INNER, "inputs.score: unknown value ", static_cast<int>(inputs.score));
  const auto a = matrix<const float>(inputs.a, "inputs.a", kAny, kAny);
  return {inputs.score, a, matrix<const float>(inputs.v, "inputs.v", kAny, a.columns), vector<const float>(inputs.scale, "inputs.scale", 1)};
}

AlignmentGradients check(const AlignmentInputs& inputs, const duet_matrix& grad_a, const duet_matrix& grad_v, const duet_vector& grad_scale) {
  return {matrix<float>(grad_a, "grad_a", inputs.a.rows, inputs.a.columns, Need::optional),
          matrix<float>(grad_v, "grad_v", inputs.v.rows, inputs.v.columns, Need::optional),
          vector<float>(grad_scale, "grad_scale", 1, Need::optional)};
}

size_t needed(const duet_context* context, const AlignmentInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::alignment_workspace(*context, inputs); }, [&] { return cuda::alignment_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_alignment_workspace(const duet_context* context, const duet_alignment_inputs* inputs, size_t* bytes) {
  return guard("alignment_workspace", [&] {
    const AlignmentInputs checked = check(inputs);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked);
  });
}

duet_status duet_alignment_forward(duet_context* context, const duet_alignment_inputs* inputs, duet_vector lse_row, duet_vector lse_column,
                                   duet_workspace workspace) {
  return guard("alignment_forward", [&] {
    const AlignmentInputs checked = check(inputs);
    const auto row = vector<float>(lse_row, "lse_row", checked.a.rows, Need::optional);
    const auto column = vector<float>(lse_column, "lse_column", checked.v.rows, Need::optional);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::alignment_forward(*context, checked, row, column, workspace); },
        [&] { cuda::alignment_forward(*context, checked, row, column, workspace); });
  });
}

duet_status duet_alignment_backward(duet_context* context, const duet_alignment_inputs* inputs, duet_vector lse_row, duet_vector lse_column,
                                    duet_vector grad_lse_row, duet_vector grad_lse_column, duet_matrix grad_a, duet_matrix grad_v,
                                    duet_vector grad_scale, duet_workspace workspace) {
  return guard("alignment_backward", [&] {
    const AlignmentInputs checked = check(inputs);
    const auto grad_row = vector<const float>(grad_lse_row, "grad_lse_row", checked.a.rows, Need::optional);
    const auto grad_column = vector<const float>(grad_lse_column, "grad_lse_column", checked.v.rows, Need::optional);
    const auto row = vector<const float>(lse_row, "lse_row", checked.a.rows, grad_row ? Need::required : Need::optional);
    const auto column = vector<const float>(lse_column, "lse_column", checked.v.rows, grad_column ? Need::required : Need::optional);
    const AlignmentGradients gradients = check(checked, grad_a, grad_v, grad_scale);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::alignment_backward(*context, checked, row, column, grad_row, grad_column, gradients, workspace); },
        [&] { cuda::alignment_backward(*context, checked, row, column, grad_row, grad_column, gradients, workspace); });
  });
}

duet_status duet_alignment_probabilities(duet_context* context, const duet_alignment_inputs* inputs, duet_vector lse_row, duet_matrix probabilities,
                                         duet_workspace workspace) {
  return guard("alignment_probabilities", [&] {
    const AlignmentInputs checked = check(inputs);
    const auto row = vector<const float>(lse_row, "lse_row", checked.a.rows);
    const auto out = matrix<float>(probabilities, "probabilities", checked.a.rows, checked.v.rows);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::alignment_probabilities(*context, checked, row, out, workspace); },
        [&] { cuda::alignment_probabilities(*context, checked, row, out, workspace); });
  });
}

duet_status duet_alignment_probabilities_backward(duet_context* context, const duet_alignment_inputs* inputs, duet_matrix probabilities,
                                                  duet_matrix grad_probabilities, duet_matrix grad_a, duet_matrix grad_v, duet_vector grad_scale,
                                                  duet_workspace workspace) {
  return guard("alignment_probabilities_backward", [&] {
    const AlignmentInputs checked = check(inputs);
    const auto p = matrix<const float>(probabilities, "probabilities", checked.a.rows, checked.v.rows);
    const auto grad = matrix<const float>(grad_probabilities, "grad_probabilities", checked.a.rows, checked.v.rows);
    const AlignmentGradients gradients = check(checked, grad_a, grad_v, grad_scale);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::alignment_probabilities_backward(*context, checked, p, grad, gradients, workspace); },
        [&] { cuda::alignment_probabilities_backward(*context, checked, p, grad, gradients, workspace); });
  });
}
