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
  out.teacher_a = arguments.side(in.teacher_a, "inputs.teacher_a", kAny, n);
  out.teacher_v = arguments.side(in.teacher_v, "inputs.teacher_v", out.teacher_a.columns, m);
  check_numbers(arguments, in.group_a, "inputs.group_a", in.group_v, "inputs.group_v", n, m, out.group_a, out.group_v);
  if (is_there(in.class_a) || is_there(in.class_v)) {
    out.class_a = arguments.matrix<const float>(in.class_a, "inputs.class_a", n, kAny);
    out.class_v = arguments.matrix<const float>(in.class_v, "inputs.class_v", m, out.class_a.columns);
    check_annotated(arguments, in.annotated_a, "inputs.annotated_a", in.annotated_v, "inputs.annotated_v", n, m,
                    out.annotated);
    if (out.class_a.columns == 0) out.annotated = {};  // without a class no two rows share one, known or not
  } else {
    constexpr const char* kWithout = "without inputs.class_a and class_v";
    require_absent(in.trust_a, "inputs.trust_a", kWithout);
    require_absent(in.trust_v, "inputs.trust_v", kWithout);
    require_absent(in.annotated_a, "inputs.annotated_a", kWithout);
    require_absent(in.annotated_v, "inputs.annotated_v", kWithout);
    if (!out.has_groups()) {
      require_absent(in.kappa_a, "inputs.kappa_a", kWithout);
      require_absent(in.kappa_v, "inputs.kappa_v", kWithout);
    }
  }
  out.trust_a = arguments.vector<const float>(in.trust_a, "inputs.trust_a", n, Need::optional);
  out.trust_v = arguments.vector<const float>(in.trust_v, "inputs.trust_v", m, Need::optional);
  out.kappa_a = arguments.vector<const float>(in.kappa_a, "inputs.kappa_a", n, Need::optional);
  out.kappa_v = arguments.vector<const float>(in.kappa_v, "inputs.kappa_v", m, Need::optional);
  out.scale = arguments.vector<const float>(in.scale, "inputs.scale", 1);
  out.teacher_scale = arguments.vector<const float>(in.teacher_scale, "inputs.teacher_scale", 1);
  out.exclude_own = in.exclude_own != 0;
  out.paired = in.paired != 0 && !out.exclude_own;
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
    Arguments arguments(Look::shapes);
    const DistillationInputs checked = check(inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked) + arguments.reserved();
  });
}

duet_status duet_distillation_forward(duet_context* context, const duet_distillation_inputs* inputs,
                                      const duet_distillation_outputs* outputs, duet_workspace workspace) {
  return guard("distillation_forward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const DistillationInputs checked = check(inputs, arguments);
    const int64_t n = checked.student_a.rows, m = checked.student_v.rows;
    DistillationOutputs outputs;
    outputs.row_loss = vector_or_sums(arguments, raw.row_loss, "outputs.row_loss", n, raw.row_sums);
    outputs.column_loss = vector_or_sums(arguments, raw.column_loss, "outputs.column_loss", m, raw.column_sums);
    outputs.row_statistics = matrix_or_sums(arguments, raw.row_statistics, "outputs.row_statistics", n,
                                            DUET_DISTILLATION_STATISTICS, raw.row_sums);
    outputs.column_statistics = matrix_or_sums(arguments, raw.column_statistics, "outputs.column_statistics", m,
                                               DUET_DISTILLATION_STATISTICS, raw.column_sums);
    outputs.row_sums = sums_or_none(arguments, raw.row_sums, "outputs.row_sums", n, DUET_DISTILLATION_SUMS);
    outputs.column_sums = sums_or_none(arguments, raw.column_sums, "outputs.column_sums", m, DUET_DISTILLATION_SUMS);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::distillation_forward(*context, checked, outputs, workspace); },
        [&] {
          refuse_sums(outputs.row_sums), refuse_sums(outputs.column_sums);
          cuda::distillation_forward(*context, checked, outputs, workspace);
        });
  });
}

duet_status duet_distillation_backward(duet_context* context, const duet_distillation_inputs* inputs,
                                       const duet_distillation_gradients* gradients, duet_workspace workspace) {
  return guard("distillation_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const DistillationInputs checked = check(inputs, arguments);
    const int64_t n = checked.student_a.rows, m = checked.student_v.rows, d = checked.student_a.columns;
    const auto rows =
        arguments.matrix<const float>(raw.row_statistics, "gradients.row_statistics", n, DUET_DISTILLATION_STATISTICS);
    const auto columns = arguments.matrix<const float>(raw.column_statistics, "gradients.column_statistics", m,
                                                       DUET_DISTILLATION_STATISTICS);
    const DistillationGradients gradients{
        arguments.vector<const float>(raw.row_weight, "gradients.row_weight", n, Need::optional),
        arguments.vector<const float>(raw.column_weight, "gradients.column_weight", m, Need::optional),
        arguments.matrix<float>(raw.grad_a, "gradients.grad_a", n, d, Need::optional),
        arguments.matrix<float>(raw.grad_v, "gradients.grad_v", m, d, Need::optional),
        arguments.vector<float>(raw.grad_scale, "gradients.grad_scale", 1, Need::optional)};
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::distillation_backward(*context, checked, rows, columns, gradients, workspace); },
        [&] { cuda::distillation_backward(*context, checked, rows, columns, gradients, workspace); });
  });
}

duet_status duet_distillation_merge(duet_context* context, const duet_distillation_merge_inputs* inputs,
                                    const duet_distillation_merge_outputs* outputs) {
  return guard("distillation_merge", [&] {
    Arguments arguments;
    const auto in = load(inputs, "inputs");
    const auto out = load(outputs, "outputs");
    const auto left = arguments.matrix<const double>(in.left, "inputs.left", kAny, DUET_DISTILLATION_SUMS);
    const auto right = arguments.matrix<const double>(in.right, "inputs.right", left.rows, DUET_DISTILLATION_SUMS);
    const auto sums = arguments.in_place<double>(out.sums, "outputs.sums", left);
    arguments.check();
    dispatch(
        context, [&] { cpu::distillation_merge(*context, left, right, sums); }, [] { refuse_sums(); });
  });
}

duet_status duet_distillation_close(duet_context* context, const duet_distillation_close_inputs* inputs,
                                    const duet_distillation_close_outputs* outputs) {
  return guard("distillation_close", [&] {
    Arguments arguments;
    const auto in = load(inputs, "inputs");
    const auto out = load(outputs, "outputs");
    require_reserved(in.reserved, "inputs.reserved");
    const auto sums = arguments.matrix<const double>(in.sums, "inputs.sums", kAny, DUET_DISTILLATION_SUMS);
    const auto kappa = arguments.vector<const float>(in.kappa, "inputs.kappa", sums.rows, Need::optional);
    if (in.agreement == 0) require_absent(in.kappa, "inputs.kappa", "without inputs.agreement");
    const auto loss = arguments.vector<float>(out.loss, "outputs.loss", sums.rows);
    const auto statistics =
        arguments.matrix<float>(out.statistics, "outputs.statistics", sums.rows, DUET_DISTILLATION_STATISTICS);
    arguments.check();
    dispatch(
        context, [&] { cpu::distillation_close(*context, sums, kappa, in.agreement != 0, loss, statistics); },
        [] { refuse_sums(); });
  });
}
