#include "kernels/contrastive/contrastive.h"

#include "kernels/contrastive/contrastive_backends.h"

using namespace duet;

namespace {

ContrastiveInputs check(const duet_contrastive_inputs* given) {
  const duet_contrastive_inputs in = load(given, "inputs");
  require(in.kind >= DUET_INFONCE && in.kind <= DUET_SIGMOID, "inputs.kind: unknown value ", static_cast<int>(in.kind));
  ContrastiveInputs out;
  out.kind = in.kind;
  out.a = matrix<const float>(in.a, "inputs.a", kAny, kAny);
  out.v = matrix<const float>(in.v, "inputs.v", kAny, out.a.columns);
  const int64_t n = out.a.rows, m = out.v.rows;
  const bool given_classes = in.class_a.data != nullptr || in.class_v.data != nullptr;
  if (in.kind == DUET_MULTI_POSITIVE || (in.kind == DUET_SIGMOID && given_classes)) {
    out.class_a = matrix<const float>(in.class_a, "inputs.class_a", n, kAny);
    out.class_v = matrix<const float>(in.class_v, "inputs.class_v", m, out.class_a.columns);
  }
  if (in.kind == DUET_MULTI_POSITIVE) {
    out.trust_a = vector<const float>(in.trust_a, "inputs.trust_a", n, Need::optional);
    out.trust_v = vector<const float>(in.trust_v, "inputs.trust_v", m, Need::optional);
  }
  out.scale = vector<const float>(in.scale, "inputs.scale", 1);
  if (in.kind == DUET_SIGMOID) out.bias = vector<const float>(in.bias, "inputs.bias", 1);
  out.paired = in.kind == DUET_INFONCE || (in.kind == DUET_MULTI_POSITIVE && in.paired != 0) || (in.kind == DUET_SIGMOID && !given_classes);
  out.first_row = in.first_row;
  out.first_column = in.first_column;
  return out;
}

size_t needed(const duet_context* context, const ContrastiveInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::contrastive_workspace(*context, inputs); }, [&] { return cuda::contrastive_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_contrastive_workspace(const duet_context* context, const duet_contrastive_inputs* inputs, size_t* bytes) {
  return guard("contrastive_workspace", [&] {
    const ContrastiveInputs checked = check(inputs);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked);
  });
}

duet_status duet_contrastive_forward(duet_context* context, const duet_contrastive_inputs* inputs, duet_vector row_loss, duet_vector column_loss,
                                     duet_matrix row_statistics, duet_matrix column_statistics, duet_workspace workspace) {
  return guard("contrastive_forward", [&] {
    const ContrastiveInputs checked = check(inputs);
    const int64_t n = checked.a.rows, m = checked.v.rows;
    ContrastiveOutputs outputs;
    outputs.row_loss = vector<float>(row_loss, "row_loss", n);
    if (checked.kind != DUET_SIGMOID) {
      outputs.column_loss = vector<float>(column_loss, "column_loss", m);
      outputs.row_statistics = matrix<float>(row_statistics, "row_statistics", n, 2);
      outputs.column_statistics = matrix<float>(column_statistics, "column_statistics", m, 2);
    }
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::contrastive_forward(*context, checked, outputs, workspace); },
        [&] { cuda::contrastive_forward(*context, checked, outputs, workspace); });
  });
}

duet_status duet_contrastive_backward(duet_context* context, const duet_contrastive_inputs* inputs, duet_matrix row_statistics,
                                      duet_matrix column_statistics, duet_vector row_weight, duet_vector column_weight, duet_matrix grad_a,
                                      duet_matrix grad_v, duet_vector grad_scale, duet_vector grad_bias, duet_workspace workspace) {
  return guard("contrastive_backward", [&] {
    const ContrastiveInputs checked = check(inputs);
    const int64_t n = checked.a.rows, m = checked.v.rows, d = checked.a.columns;
    Matrix<const float> rows, columns;
    ContrastiveGradients gradients;
    gradients.row_weight = vector<const float>(row_weight, "row_weight", n, Need::optional);
    if (checked.kind != DUET_SIGMOID) {
      rows = matrix<const float>(row_statistics, "row_statistics", n, 2);
      columns = matrix<const float>(column_statistics, "column_statistics", m, 2);
      gradients.column_weight = vector<const float>(column_weight, "column_weight", m, Need::optional);
    } else {
      gradients.bias = vector<float>(grad_bias, "grad_bias", 1, Need::optional);
    }
    gradients.a = matrix<float>(grad_a, "grad_a", n, d, Need::optional);
    gradients.v = matrix<float>(grad_v, "grad_v", m, d, Need::optional);
    gradients.scale = vector<float>(grad_scale, "grad_scale", 1, Need::optional);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::contrastive_backward(*context, checked, rows, columns, gradients, workspace); },
        [&] { cuda::contrastive_backward(*context, checked, rows, columns, gradients, workspace); });
  });
}
