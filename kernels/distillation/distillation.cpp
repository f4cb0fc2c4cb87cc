#include "kernels/distillation/distillation.h"

#include "kernels/distillation/distillation_backends.h"

using namespace duet;

namespace {

DistillationInputs check(const duet_distillation_inputs* given) {
  const duet_distillation_inputs in = load(given, "inputs");
  DistillationInputs out;
  out.student_a = matrix<const float>(in.student_a, "inputs.student_a", kAny, kAny);
  const int64_t n = out.student_a.rows;
  out.student_v = matrix<const float>(in.student_v, "inputs.student_v", kAny, out.student_a.columns);
  const int64_t m = out.student_v.rows;
  out.teacher_a = matrix<const float>(in.teacher_a, "inputs.teacher_a", n, kAny);
  out.teacher_v = matrix<const float>(in.teacher_v, "inputs.teacher_v", m, out.teacher_a.columns);
  if (in.class_a.data != nullptr || in.class_v.data != nullptr) {
    out.class_a = matrix<const float>(in.class_a, "inputs.class_a", n, kAny);
    out.class_v = matrix<const float>(in.class_v, "inputs.class_v", m, out.class_a.columns);
  }
  out.trust_a = vector<const float>(in.trust_a, "inputs.trust_a", n, Need::optional);
  out.trust_v = vector<const float>(in.trust_v, "inputs.trust_v", m, Need::optional);
  out.kappa_a = vector<const float>(in.kappa_a, "inputs.kappa_a", n, Need::optional);
  out.kappa_v = vector<const float>(in.kappa_v, "inputs.kappa_v", m, Need::optional);
  out.scale = vector<const float>(in.scale, "inputs.scale", 1);
  out.teacher_scale = vector<const float>(in.teacher_scale, "inputs.teacher_scale", 1);
  out.paired = in.paired != 0;
  out.first_row = in.first_row;
  out.first_column = in.first_column;
  return out;
}

size_t needed(const duet_context* context, const DistillationInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::distillation_workspace(*context, inputs); }, [&] { return cuda::distillation_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_distillation_workspace(const duet_context* context, const duet_distillation_inputs* inputs, size_t* bytes) {
  return guard("distillation_workspace", [&] {
    const DistillationInputs checked = check(inputs);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked);
  });
}

duet_status duet_distillation_forward(duet_context* context, const duet_distillation_inputs* inputs, duet_vector row_loss, duet_vector column_loss,
                                      duet_matrix row_statistics, duet_matrix column_statistics, duet_workspace workspace) {
  return guard("distillation_forward", [&] {
    const DistillationInputs checked = check(inputs);
    const int64_t n = checked.student_a.rows, m = checked.student_v.rows;
    const DistillationOutputs outputs{vector<float>(row_loss, "row_loss", n), vector<float>(column_loss, "column_loss", m),
                                      matrix<float>(row_statistics, "row_statistics", n, 3),
                                      matrix<float>(column_statistics, "column_statistics", m, 3)};
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::distillation_forward(*context, checked, outputs, workspace); },
        [&] { cuda::distillation_forward(*context, checked, outputs, workspace); });
  });
}

duet_status duet_distillation_backward(duet_context* context, const duet_distillation_inputs* inputs, duet_matrix row_statistics,
                                       duet_matrix column_statistics, duet_vector row_weight, duet_vector column_weight, duet_matrix grad_a,
                                       duet_matrix grad_v, duet_vector grad_scale, duet_workspace workspace) {
  return guard("distillation_backward", [&] {
    const DistillationInputs checked = check(inputs);
    const int64_t n = checked.student_a.rows, m = checked.student_v.rows, d = checked.student_a.columns;
    const auto rows = matrix<const float>(row_statistics, "row_statistics", n, 3);
    const auto columns = matrix<const float>(column_statistics, "column_statistics", m, 3);
    const DistillationGradients gradients{
        vector<const float>(row_weight, "row_weight", n, Need::optional), vector<const float>(column_weight, "column_weight", m, Need::optional),
        matrix<float>(grad_a, "grad_a", n, d, Need::optional), matrix<float>(grad_v, "grad_v", m, d, Need::optional),
        vector<float>(grad_scale, "grad_scale", 1, Need::optional)};
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::distillation_backward(*context, checked, rows, columns, gradients, workspace); },
        [&] { cuda::distillation_backward(*context, checked, rows, columns, gradients, workspace); });
  });
}
