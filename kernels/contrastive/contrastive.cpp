#include "kernels/contrastive/contrastive.h"

#include <cmath>

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/core/numbers.h"

using namespace duet;

namespace {

constexpr float kCircleMargin = 0.25f;  // the paper's for verifying faces (METHOD.md 5.7)

bool is_given(const duet_const_vector& view) { return view.data != nullptr || view.size != 0; }

// The classes of multi_positive and sigmoid. multi_positive has labels in their place, the sigmoid own pairs.
bool check_classes(const duet_contrastive_inputs& in, Arguments& arguments, ContrastiveInputs& out) {
  if (out.kind == DUET_CONTRASTIVE_KIND_INFONCE || has_relation(out.kind)) {
    const char* const with = has_relation(out.kind) ? "without multi_positive or sigmoid" : "with infonce";
    require_absent(in.class_a, "inputs.class_a", with);
    require_absent(in.class_v, "inputs.class_v", with);
    return false;
  }
  const bool in_their_place =
      out.kind == DUET_CONTRASTIVE_KIND_SIGMOID || is_given(in.labels_a) || is_given(in.labels_v);
  if (in_their_place && !is_there(in.class_a) && !is_there(in.class_v)) return false;
  out.class_a = arguments.matrix<const float>(in.class_a, "inputs.class_a", out.a.rows, kAny);
  out.class_v = arguments.matrix<const float>(in.class_v, "inputs.class_v", out.v.rows, out.class_a.columns);
  return true;
}

// What says which pairs are one item, or its absence.
void check_relation(const duet_contrastive_inputs& in, Arguments& arguments, bool classes, ContrastiveInputs& out) {
  const int64_t n = out.a.rows, m = out.v.rows;
  const bool multi_positive = out.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE;
  if (has_relation(out.kind) || (multi_positive && !classes)) {
    check_numbers(arguments, in.labels_a, "inputs.labels_a", in.labels_v, "inputs.labels_v", n, m, out.labels_a,
                  out.labels_v);
  } else {
    const char* const why =
        multi_positive ? "with inputs.class_a and class_v" : "without multi_positive, decoupled, circle or ntxent";
    require_absent(in.labels_a, "inputs.labels_a", why);
    require_absent(in.labels_v, "inputs.labels_v", why);
  }
  if (out.has_labels() || (n == 0 && m == 0))  // of no rows there is nothing to know
    out.label_sets = check_label_sets(arguments, in.label_sets, "inputs.label_sets");
  else
    require_absent(in.label_sets, "inputs.label_sets", "without inputs.labels_a and labels_v");
  check_numbers(arguments, in.group_a, "inputs.group_a", in.group_v, "inputs.group_v", n, m, out.group_a, out.group_v);
  out.exclude_own = in.exclude_own != 0;
  out.related = has_relation(out.kind) || out.has_labels() || out.has_groups() || out.exclude_own;
  out.weighted = classes || out.kind == DUET_CONTRASTIVE_KIND_SIGMOID;
  if (out.kind == DUET_CONTRASTIVE_KIND_CIRCLE)
    require(in.margin >= 0 && std::isfinite(in.margin), "inputs.margin: expected a finite number of at least 0, got ",
            in.margin);
  else
    require(in.margin == 0, "inputs.margin: expected 0 without circle, got ", in.margin);
  out.margin = in.margin == 0 ? kCircleMargin : in.margin;
}

ContrastiveInputs check(const duet_contrastive_inputs* given, Arguments& arguments) {
  const duet_contrastive_inputs in = load(given, "inputs");
  ContrastiveInputs out;
  out.kind = enumerator(in.kind, "inputs.kind", DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_NTXENT);
  out.a = arguments.side(in.a, "inputs.a", kAny);
  out.v = arguments.side(in.v, "inputs.v", out.a.columns);
  const int64_t n = out.a.rows, m = out.v.rows;
  const bool classes = check_classes(in, arguments, out);
  if (classes) {
    check_annotated(arguments, in.annotated_a, "inputs.annotated_a", in.annotated_v, "inputs.annotated_v", n, m,
                    out.annotated);
    if (out.class_a.columns == 0) out.annotated = {};  // without a class no two rows share one, known or not
  } else {
    require_absent(in.annotated_a, "inputs.annotated_a", "without inputs.class_a and class_v");
    require_absent(in.annotated_v, "inputs.annotated_v", "without inputs.class_a and class_v");
  }
  if (out.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE && classes) {
    out.trust_a = arguments.vector<const float>(in.trust_a, "inputs.trust_a", n, Need::optional);
    out.trust_v = arguments.vector<const float>(in.trust_v, "inputs.trust_v", m, Need::optional);
  } else {
    const char* const without = out.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE ? "without inputs.class_a and class_v"
                                                                                 : "without multi_positive";
    require_absent(in.trust_a, "inputs.trust_a", without);
    require_absent(in.trust_v, "inputs.trust_v", without);
  }
  out.scale = arguments.vector<const float>(in.scale, "inputs.scale", 1);
  if (out.kind == DUET_CONTRASTIVE_KIND_SIGMOID)
    out.bias = arguments.vector<const float>(in.bias, "inputs.bias", 1);
  else
    require_absent(in.bias, "inputs.bias", "without sigmoid");
  out.paired = out.kind == DUET_CONTRASTIVE_KIND_INFONCE ||
               (out.kind == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE && in.paired != 0) ||
               (out.kind == DUET_CONTRASTIVE_KIND_SIGMOID && !classes);
  check_first(in.first_row, n, "inputs", ".first_row");
  check_first(in.first_column, m, "inputs", ".first_column");
  out.first_row = in.first_row;
  out.first_column = in.first_column;
  check_relation(in, arguments, classes, out);
  out.grad_factor_a = arguments.vector<const float>(in.grad_factor_a, "inputs.grad_factor_a", 1, Need::optional);
  out.grad_factor_v = arguments.vector<const float>(in.grad_factor_v, "inputs.grad_factor_v", 1, Need::optional);
  return out;
}

// Of kinds without sums; name: of what asks for them.
void refuse_kind(duet_contrastive_kind kind, const char* name) {
  const char* const why = kind == DUET_CONTRASTIVE_KIND_SIGMOID  ? "sigmoid has no sums, as its columns have no terms"
                          : kind == DUET_CONTRASTIVE_KIND_NTXENT ? "ntxent has no sums, as its terms need two sweeps"
                                                                 : nullptr;
  if (why) throw Error(DUET_STATUS_UNSUPPORTED, text(name, ": ", why));
}

size_t needed(const duet_context* context, const ContrastiveInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::contrastive_workspace(*context, inputs); },
      [&] { return cuda::contrastive_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_contrastive_workspace(const duet_context* context, const duet_contrastive_inputs* inputs,
                                       size_t* bytes) {
  return guard("contrastive_workspace", [&] {
    Arguments arguments(Look::shapes);
    const ContrastiveInputs checked = check(inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked) + arguments.reserved();
  });
}

duet_status duet_contrastive_forward(duet_context* context, const duet_contrastive_inputs* inputs,
                                     const duet_contrastive_outputs* outputs, duet_workspace workspace) {
  return guard("contrastive_forward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const ContrastiveInputs checked = check(inputs, arguments);
    const int64_t n = checked.a.rows, m = checked.v.rows;
    ContrastiveOutputs outputs;
    if (wants_sums(raw.row_sums)) refuse_kind(checked.kind, "outputs.row_sums");
    if (wants_sums(raw.column_sums)) refuse_kind(checked.kind, "outputs.column_sums");
    outputs.row_loss = vector_or_sums(arguments, raw.row_loss, "outputs.row_loss", n, raw.row_sums);
    if (checked.kind != DUET_CONTRASTIVE_KIND_SIGMOID) {
      outputs.column_loss = vector_or_sums(arguments, raw.column_loss, "outputs.column_loss", m, raw.column_sums);
      outputs.row_statistics = matrix_or_sums(arguments, raw.row_statistics, "outputs.row_statistics", n,
                                              DUET_CONTRASTIVE_STATISTICS, raw.row_sums);
      outputs.column_statistics = matrix_or_sums(arguments, raw.column_statistics, "outputs.column_statistics", m,
                                                 DUET_CONTRASTIVE_STATISTICS, raw.column_sums);
      outputs.row_sums = sums_or_none(arguments, raw.row_sums, "outputs.row_sums", n, DUET_CONTRASTIVE_SUMS);
      outputs.column_sums = sums_or_none(arguments, raw.column_sums, "outputs.column_sums", m, DUET_CONTRASTIVE_SUMS);
    }
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::contrastive_forward(*context, checked, outputs, workspace); },
        [&] {
          refuse_sums(outputs.row_sums), refuse_sums(outputs.column_sums);
          cuda::contrastive_forward(*context, checked, outputs, workspace);
        });
  });
}

duet_status duet_contrastive_backward(duet_context* context, const duet_contrastive_inputs* inputs,
                                      const duet_contrastive_gradients* gradients, duet_workspace workspace) {
  return guard("contrastive_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const ContrastiveInputs checked = check(inputs, arguments);
    const int64_t n = checked.a.rows, m = checked.v.rows, d = checked.a.columns;
    Matrix<const float> rows, columns;
    ContrastiveGradients gradients;
    gradients.row_weight = arguments.vector<const float>(raw.row_weight, "gradients.row_weight", n, Need::optional);
    if (checked.kind != DUET_CONTRASTIVE_KIND_SIGMOID) {
      rows =
          arguments.matrix<const float>(raw.row_statistics, "gradients.row_statistics", n, DUET_CONTRASTIVE_STATISTICS);
      columns = arguments.matrix<const float>(raw.column_statistics, "gradients.column_statistics", m,
                                              DUET_CONTRASTIVE_STATISTICS);
      gradients.column_weight =
          arguments.vector<const float>(raw.column_weight, "gradients.column_weight", m, Need::optional);
      require_absent(raw.grad_bias, "gradients.grad_bias", "without sigmoid");
    } else {
      gradients.bias = arguments.vector<float>(raw.grad_bias, "gradients.grad_bias", 1, Need::optional);
    }
    gradients.a = arguments.matrix<float>(raw.grad_a, "gradients.grad_a", n, d, Need::optional);
    gradients.v = arguments.matrix<float>(raw.grad_v, "gradients.grad_v", m, d, Need::optional);
    gradients.scale = arguments.vector<float>(raw.grad_scale, "gradients.grad_scale", 1, Need::optional);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::contrastive_backward(*context, checked, rows, columns, gradients, workspace); },
        [&] { cuda::contrastive_backward(*context, checked, rows, columns, gradients, workspace); });
  });
}

duet_status duet_contrastive_merge(duet_context* context, const duet_contrastive_merge_inputs* inputs,
                                   const duet_contrastive_merge_outputs* outputs) {
  return guard("contrastive_merge", [&] {
    Arguments arguments;
    const auto in = load(inputs, "inputs");
    const auto out = load(outputs, "outputs");
    const auto left = arguments.matrix<const double>(in.left, "inputs.left", kAny, DUET_CONTRASTIVE_SUMS);
    const auto right = arguments.matrix<const double>(in.right, "inputs.right", left.rows, DUET_CONTRASTIVE_SUMS);
    const auto sums = arguments.in_place<double>(out.sums, "outputs.sums", left);
    arguments.check();
    dispatch(
        context, [&] { cpu::contrastive_merge(*context, left, right, sums); }, [] { refuse_sums(); });
  });
}

duet_status duet_contrastive_close(duet_context* context, const duet_contrastive_close_inputs* inputs,
                                   const duet_contrastive_close_outputs* outputs) {
  return guard("contrastive_close", [&] {
    Arguments arguments;
    const auto in = load(inputs, "inputs");
    const auto out = load(outputs, "outputs");
    const auto kind = enumerator(in.kind, "inputs.kind", DUET_CONTRASTIVE_KIND_INFONCE, DUET_CONTRASTIVE_KIND_NTXENT);
    refuse_kind(kind, "inputs.kind");
    const auto sums = arguments.matrix<const double>(in.sums, "inputs.sums", kAny, DUET_CONTRASTIVE_SUMS);
    const auto loss = arguments.vector<float>(out.loss, "outputs.loss", sums.rows);
    const auto statistics =
        arguments.matrix<float>(out.statistics, "outputs.statistics", sums.rows, DUET_CONTRASTIVE_STATISTICS);
    arguments.check();
    const bool relation = has_relation(kind) || in.relation != 0;
    dispatch(
        context, [&] { cpu::contrastive_close(*context, kind, relation, sums, loss, statistics); },
        [] { refuse_sums(); });
  });
}
