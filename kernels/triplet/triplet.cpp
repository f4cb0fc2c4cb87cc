#include "kernels/triplet/triplet.h"

#include "kernels/core/arguments.h"
#include "kernels/core/numbers.h"
#include "kernels/triplet/triplet_backends.h"

using namespace duet;

namespace {

// context: whose memory the draw's step lies in.
TripletInputs check(const duet_context* context, const duet_triplet_inputs* given, Arguments& arguments) {
  const duet_triplet_inputs inputs = load(given, "inputs");
  const int metric = enum_value(inputs.metric);
  require(metric >= DUET_METRIC_SQEUCLIDEAN && metric <= DUET_METRIC_COSINE,
          "inputs.metric: expected sqeuclidean, euclidean or cosine (inner is no distance), got ", metric);
  const duet_triplet_mining mining =
      enumerator(inputs.mining, "inputs.mining", DUET_TRIPLET_MINING_ALL, DUET_TRIPLET_MINING_DISTANCE_WEIGHTED);
  require(inputs.margin >= 0, "inputs.margin: expected at least 0, got ", inputs.margin);
  TripletInputs out{};
  out.x = arguments.side(inputs.x, "inputs.x", kAny);
  out.y = arguments.side(inputs.y, "inputs.y", out.x.columns);
  const int64_t n = out.x.rows, m = out.y.rows;
  check_first(inputs.first_row, n, "inputs", ".first_row");
  check_first(inputs.first_column, m, "inputs", ".first_column");
  out.soft = mining == DUET_TRIPLET_MINING_ALL && (is_there(inputs.class_x) || is_there(inputs.class_y));
  if (out.soft) {
    require_absent(inputs.labels_x, "inputs.labels_x", "with inputs.class_x and class_y");
    require_absent(inputs.labels_y, "inputs.labels_y", "with inputs.class_x and class_y");
    require_absent(inputs.label_sets, "inputs.label_sets", "with inputs.class_x and class_y");
    out.class_x = arguments.matrix<const float>(inputs.class_x, "inputs.class_x", n, kAny);
    out.class_y = arguments.matrix<const float>(inputs.class_y, "inputs.class_y", m, out.class_x.columns);
    out.trust_x = arguments.vector<const float>(inputs.trust_x, "inputs.trust_x", n, Need::optional);
    out.trust_y = arguments.vector<const float>(inputs.trust_y, "inputs.trust_y", m, Need::optional);
    check_annotated(arguments, inputs.annotated_x, "inputs.annotated_x", inputs.annotated_y, "inputs.annotated_y", n, m,
                    out.annotated);
    if (out.class_x.columns == 0) out.annotated = {};  // without a class no two rows share one, known or not
  } else {
    require_absent(inputs.class_x, "inputs.class_x", "without mining all");
    require_absent(inputs.class_y, "inputs.class_y", "without mining all");
    require_absent(inputs.trust_x, "inputs.trust_x", "without inputs.class_x and class_y");
    require_absent(inputs.trust_y, "inputs.trust_y", "without inputs.class_x and class_y");
    require_absent(inputs.annotated_x, "inputs.annotated_x", "without inputs.class_x and class_y");
    require_absent(inputs.annotated_y, "inputs.annotated_y", "without inputs.class_x and class_y");
    out.labels_x = arguments.vector<const int32_t>(inputs.labels_x, "inputs.labels_x", n);
    out.labels_y = arguments.vector<const int32_t>(inputs.labels_y, "inputs.labels_y", m);
    out.label_sets = check_label_sets(arguments, inputs.label_sets, "inputs.label_sets");
  }
  check_numbers(arguments, inputs.group_x, "inputs.group_x", inputs.group_y, "inputs.group_y", n, m, out.group_x,
                out.group_y);
  require_reserved(inputs.reserved, "inputs.reserved");
  out.metric = static_cast<duet_metric>(metric);
  out.mining = mining;
  out.margin = inputs.margin;
  out.paired = inputs.paired != 0;
  out.exclude_own = inputs.exclude_own != 0;
  out.first_row = inputs.first_row;
  out.first_column = inputs.first_column;
  if (mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED)
    out.draw = check_draw(context, inputs.draw, inputs.first_row + n, inputs.first_column + m, m, arguments);
  else
    require(inputs.draw == nullptr, "inputs.draw: expected null without mining distance_weighted");
  return out;
}

size_t needed(const duet_context* context, const TripletInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::triplet_workspace(*context, inputs); },
      [&] { return cuda::triplet_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_triplet_workspace(const duet_context* context, const duet_triplet_inputs* inputs, size_t* bytes) {
  return guard("triplet_workspace", [&] {
    Arguments arguments(Look::shapes);
    const TripletInputs checked = check(context, inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked) + arguments.reserved();
  });
}

duet_status duet_triplet_forward(duet_context* context, const duet_triplet_inputs* inputs,
                                 const duet_triplet_outputs* outputs, duet_workspace workspace) {
  return guard("triplet_forward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const TripletInputs checked = check(context, inputs, arguments);
    const int64_t n = checked.x.rows, m = checked.y.rows, d = checked.x.columns;
    const auto loss = arguments.vector<float>(raw.row_loss, "outputs.row_loss", n),
               active = arguments.vector<float>(raw.row_active, "outputs.row_active", n);
    const auto to_x = arguments.matrix<float>(raw.sum_x, "outputs.sum_x", n, d, Need::optional),
               to_y = arguments.matrix<float>(raw.sum_y, "outputs.sum_y", m, d, Need::optional);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::triplet_forward(*context, checked, loss, active, to_x, to_y, workspace); },
        [&] { cuda::triplet_forward(*context, checked, loss, active, to_x, to_y, workspace); });
  });
}

duet_status duet_triplet_add_gradient(duet_context* context, const duet_triplet_sums* sums,
                                      const duet_triplet_gradients* gradients) {
  return guard("triplet_add_gradient", [&] {
    Arguments arguments;
    const auto given = load(sums, "sums");
    const auto raw = load(gradients, "gradients");
    const auto weight = arguments.vector<const float>(raw.active, "gradients.active", 1),
               upstream = arguments.vector<const float>(raw.grad_loss, "gradients.grad_loss", 1);
    const auto to_x = arguments.matrix<float>(raw.grad_x, "gradients.grad_x", kAny, kAny, Need::optional),
               to_y = arguments.matrix<float>(raw.grad_y, "gradients.grad_y", kAny, kAny, Need::optional);
    TripletSums x{{}, to_x}, y{{}, to_y};
    if (to_x) x.sum = arguments.matrix<const float>(given.sum_x, "sums.sum_x", to_x.rows, to_x.columns);
    if (to_y) y.sum = arguments.matrix<const float>(given.sum_y, "sums.sum_y", to_y.rows, to_y.columns);
    require(to_x.rows + to_y.rows <= INT32_MAX, "grad_x, grad_y: expected below 2^31 rows, got ", to_x.rows, " and ",
            to_y.rows);
    arguments.check();
    dispatch(
        context, [&] { cpu::triplet_add_gradient(*context, weight, upstream, x, y); },
        [&] { cuda::triplet_add_gradient(*context, weight, upstream, x, y); });
  });
}

duet_status duet_triplet_loss(duet_context* context, const duet_triplet_loss_inputs* inputs,
                              const duet_triplet_loss_outputs* outputs) {
  return guard("triplet_loss", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const auto terms = arguments.vector<const float>(given.row_loss, "inputs.row_loss", kAny);
    const auto weights = arguments.vector<const float>(given.row_active, "inputs.row_active", terms.size);
    const auto to_loss = arguments.vector<float>(raw.loss, "outputs.loss", 1),
               to_active = arguments.vector<float>(raw.active, "outputs.active", 1);
    arguments.check();
    dispatch(
        context, [&] { cpu::triplet_loss(*context, terms, weights, to_loss, to_active); },
        [&] { cuda::triplet_loss(*context, terms, weights, to_loss, to_active); });
  });
}

duet_status duet_triplet_backward(duet_context* context, const duet_triplet_inputs* inputs,
                                  const duet_triplet_gradients* gradients, duet_workspace workspace) {
  return guard("triplet_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const TripletInputs checked = check(context, inputs, arguments);
    const int64_t n = checked.x.rows, m = checked.y.rows, d = checked.x.columns;
    const auto weight = arguments.vector<const float>(raw.active, "gradients.active", 1),
               upstream = arguments.vector<const float>(raw.grad_loss, "gradients.grad_loss", 1);
    const auto to_x = arguments.matrix<float>(raw.grad_x, "gradients.grad_x", n, d, Need::optional),
               to_y = arguments.matrix<float>(raw.grad_y, "gradients.grad_y", m, d, Need::optional);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::triplet_backward(*context, checked, weight, upstream, to_x, to_y, workspace); },
        [&] { cuda::triplet_backward(*context, checked, weight, upstream, to_x, to_y, workspace); });
  });
}
