#include "kernels/distillation/distillation.h"

#include "kernels/core/arguments.h"
#include "kernels/distillation/distillation_backends.h"

using namespace duet;

namespace {

DistillationInputs check(const duet_distillation_inputs* given, Arguments& arguments) {
  const duet_distillation_inputs in = load(given, "inputs");
  DistillationInputs out;
  out.student_a = arguments.side(in.student_a, "inputs.student_a", kAny);
  const int64_t n = out.student_a.rows;
  out.student_v = arguments.side(in.student_v, "inputs.student_v", out.student_a.columns);
  const int64_t m = out.student_v.rows;
  out.teacher_a = arguments.matrix<const float>(in.teacher_a, "inputs.teacher_a", n, kAny);
  out.teacher_v = arguments.matrix<const float>(in.teacher_v, "inputs.teacher_v", m, out.teacher_a.columns);
  if (is_there(in.class_a) || is_there(in.class_v)) {
    out.class_a = arguments.matrix<const float>(in.class_a, "inputs.class_a", n, kAny);
    out.class_v = arguments.matrix<const float>(in.class_v, "inputs.class_v", m, out.class_a.columns);
  } else {
    constexpr const char* kWithout = "without inputs.class_a and class_v";
    require_absent(in.trust_a, "inputs.trust_a", kWithout);
    require_absent(in.trust_v, "inputs.trust_v", kWithout);
    require_absent(in.kappa_a, "inputs.kappa_a", kWithout);
    require_absent(in.kappa_v, "inputs.kappa_v", kWithout);
  }
  out.trust_a = arguments.vector<const float>(in.trust_a, "inputs.trust_a", n, Need::optional);
  out.trust_v = arguments.vector<const float>(in.trust_v, "inputs.trust_v", m, Need::optional);
  out.kappa_a = arguments.vector<const float>(in.kappa_a, "inputs.kappa_a", n, Need::optional);
  out.kappa_v = arguments.vector<const float>(in.kappa_v, "inputs.kappa_v", m, Need::optional);
  out.scale = arguments.vector<const float>(in.scale, "inputs.scale", 1);
  out.teacher_scale = arguments.vector<const float>(in.teacher_scale, "inputs.teacher_scale", 1);
  out.paired = in.paired != 0;
  check_first(in.first_row, n, "inputs", ".first_row");
  check_first(in.first_column, m, "inputs", ".first_column");
  out.first_row = in.first_row;
  out.first_column = in.first_column;
  return out;
}

size_t needed(const duet_context* context, const DistillationInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::distillation_workspace(*context, inputs); },
      [&] { return cuda::distillation_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_distillation_workspace(const duet_context* context, const duet_distillation_inputs* inputs,
                                        size_t* bytes) {
  return guard("distillation_workspace", [&] {
    Arguments arguments;
    const DistillationInputs checked = check(inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked);
  });
}

duet_status duet_distillation_forward(duet_context* context, const duet_distillation_inputs* inputs,
                                      duet_vector row_loss, duet_vector column_loss, duet_matrix row_statistics,
                                      duet_matrix column_statistics, duet_workspace workspace) {
  return guard("distillation_forward", [&] {
    Arguments arguments;
    const DistillationInputs checked = check(inputs, arguments);
    const int64_t n = checked.student_a.rows, m = checked.student_v.rows;
    const DistillationOutputs outputs{
        arguments.vector<float>(row_loss, "row_loss", n), arguments.vector<float>(column_loss, "column_loss", m),
        arguments.matrix<float>(row_statistics, "row_statistics", n, DUET_DISTILLATION_STATISTICS),
        arguments.matrix<float>(column_statistics, "column_statistics", m, DUET_DISTILLATION_STATISTICS)};
    arguments.check(workspace, needed(context, checked));
    dispatch(
        context, [&] { cpu::distillation_forward(*context, checked, outputs, workspace); },
        [&] { cuda::distillation_forward(*context, checked, outputs, workspace); });
  });
}

duet_status duet_distillation_backward(duet_context* context, const duet_distillation_inputs* inputs,
                                       duet_matrix row_statistics, duet_matrix column_statistics,
                                       duet_vector row_weight, duet_vector column_weight, duet_matrix grad_a,
                                       duet_matrix grad_v, duet_vector grad_scale, duet_workspace workspace) {
  return guard("distillation_backward", [&] {
    Arguments arguments;
    const DistillationInputs checked = check(inputs, arguments);
    const int64_t n = checked.student_a.rows, m = checked.student_v.rows, d = checked.student_a.columns;
    const auto rows = arguments.matrix<const float>(row_statistics, "row_statistics", n, DUET_DISTILLATION_STATISTICS);
    const auto columns =
        arguments.matrix<const float>(column_statistics, "column_statistics", m, DUET_DISTILLATION_STATISTICS);
    const DistillationGradients gradients{
        arguments.vector<const float>(row_weight, "row_weight", n, Need::optional),
        arguments.vector<const float>(column_weight, "column_weight", m, Need::optional),
        arguments.matrix<float>(grad_a, "grad_a", n, d, Need::optional),
        arguments.matrix<float>(grad_v, "grad_v", m, d, Need::optional),
        arguments.vector<float>(grad_scale, "grad_scale", 1, Need::optional)};
    arguments.check(workspace, needed(context, checked));
    dispatch(
        context, [&] { cpu::distillation_backward(*context, checked, rows, columns, gradients, workspace); },
        [&] { cuda::distillation_backward(*context, checked, rows, columns, gradients, workspace); });
  });
}
