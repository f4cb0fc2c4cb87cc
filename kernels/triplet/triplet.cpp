#include "kernels/triplet/triplet.h"

#include "kernels/triplet/triplet_backends.h"

using namespace duet;

namespace {

TripletInputs check(const duet_triplet_inputs* given) {
  const duet_triplet_inputs inputs = load(given, "inputs");
  const int metric = enum_value(inputs.metric);
  require(metric >= DUET_SQEUCLIDEAN && metric <= DUET_COSINE,
          "inputs.metric: expected sqeuclidean, euclidean or cosine (inner is no distance), got ", metric);
  const int mining = enum_value(inputs.mining);
  require(mining >= DUET_TRIPLET_ALL && mining <= DUET_TRIPLET_DISTANCE_WEIGHTED, "inputs.mining: unknown value ", mining);
  require(inputs.margin >= 0, "inputs.margin: expected at least 0, got ", inputs.margin);
  require(inputs.first_row >= 0 && inputs.first_column >= 0, "inputs.first_row, first_column: expected at least 0, got ", inputs.first_row, ", ",
          inputs.first_column);
  TripletInputs out{};
  out.x = matrix<const float>(inputs.x, "inputs.x", kAny, kAny);
  out.y = matrix<const float>(inputs.y, "inputs.y", kAny, out.x.columns);
  const int64_t n = out.x.rows, m = out.y.rows;
  require(n <= INT32_MAX && m <= INT32_MAX, "inputs.x, inputs.y: expected below 2^31 rows, the indices being int32, got ", n, ", ", m);
  const auto given_view = [](const duet_matrix& view) { return view.data != nullptr || (view.rows != 0 && view.columns != 0); };
  out.soft = inputs.mining == DUET_TRIPLET_ALL && (given_view(inputs.class_x) || given_view(inputs.class_y));
  if (out.soft) {
    out.class_x = matrix<const float>(inputs.class_x, "inputs.class_x", n, kAny);
    out.class_y = matrix<const float>(inputs.class_y, "inputs.class_y", m, out.class_x.columns);
    out.trust_x = vector<const float>(inputs.trust_x, "inputs.trust_x", n, Need::optional);
    out.trust_y = vector<const float>(inputs.trust_y, "inputs.trust_y", m, Need::optional);
  } else {
    out.labels_x = vector<const int32_t>(inputs.labels_x, "inputs.labels_x", n);
    out.labels_y = vector<const int32_t>(inputs.labels_y, "inputs.labels_y", m);
  }
  out.metric = inputs.metric;
  out.mining = inputs.mining;
  out.margin = inputs.margin;
  out.paired = inputs.paired != 0;
  out.first_row = inputs.first_row;
  out.first_column = inputs.first_column;
  if (inputs.mining == DUET_TRIPLET_DISTANCE_WEIGHTED) out.draw = check_draw(&inputs.draw, "inputs.draw", inputs.first_column, m);
  return out;
}

void check_workspace(const duet_context* context, const TripletInputs& inputs, const duet_workspace& workspace) {
  Workspace(workspace).check(dispatch(
      context, [&] { return cpu::triplet_workspace(*context, inputs); }, [&] { return cuda::triplet_workspace(*context, inputs); }));
}

}  // namespace

duet_status duet_triplet_workspace(const duet_context* context, const duet_triplet_inputs* inputs, size_t* bytes) {
  return guard("triplet_workspace", [&] {
    const TripletInputs checked = check(inputs);
    require(bytes != nullptr, "bytes: null");
    *bytes = dispatch(
        context, [&] { return cpu::triplet_workspace(*context, checked); }, [&] { return cuda::triplet_workspace(*context, checked); });
  });
}

duet_status duet_triplet_forward(duet_context* context, const duet_triplet_inputs* inputs, duet_vector row_loss, duet_vector row_active,
                                 duet_workspace workspace) {
  return guard("triplet_forward", [&] {
    const TripletInputs checked = check(inputs);
    const auto loss = vector<float>(row_loss, "row_loss", checked.x.rows), active = vector<float>(row_active, "row_active", checked.x.rows);
    check_workspace(context, checked, workspace);
    dispatch(
        context, [&] { cpu::triplet_forward(*context, checked, loss, active, {}, {}, workspace); },
        [&] { cuda::triplet_forward(*context, checked, loss, active, {}, {}, workspace); });
  });
}

duet_status duet_triplet_forward_gradient(duet_context* context, const duet_triplet_inputs* inputs, duet_vector row_loss, duet_vector row_active,
                                          duet_matrix sum_x, duet_matrix sum_y, duet_workspace workspace) {
  return guard("triplet_forward_gradient", [&] {
    const TripletInputs checked = check(inputs);
    const int64_t n = checked.x.rows, m = checked.y.rows, d = checked.x.columns;
    const auto loss = vector<float>(row_loss, "row_loss", n), active = vector<float>(row_active, "row_active", n);
    const auto to_x = matrix<float>(sum_x, "sum_x", n, d, Need::optional), to_y = matrix<float>(sum_y, "sum_y", m, d, Need::optional);
    check_workspace(context, checked, workspace);
    dispatch(
        context, [&] { cpu::triplet_forward(*context, checked, loss, active, to_x, to_y, workspace); },
        [&] { cuda::triplet_forward(*context, checked, loss, active, to_x, to_y, workspace); });
  });
}

duet_status duet_triplet_add_gradient(duet_context* context, duet_vector active, duet_vector grad_loss, duet_matrix sum_x, duet_matrix sum_y,
                                      duet_matrix grad_x, duet_matrix grad_y) {
  return guard("triplet_add_gradient", [&] {
    const auto weight = vector<const float>(active, "active", 1), upstream = vector<const float>(grad_loss, "grad_loss", 1);
    const auto to_x = matrix<float>(grad_x, "grad_x", kAny, kAny, Need::optional), to_y = matrix<float>(grad_y, "grad_y", kAny, kAny, Need::optional);
    Matrix<const float> of_x, of_y;
    if (to_x) of_x = matrix<const float>(sum_x, "sum_x", to_x.rows, to_x.columns);
    if (to_y) of_y = matrix<const float>(sum_y, "sum_y", to_y.rows, to_y.columns);
    dispatch(
        context,
        [&] {
          if (to_x) cpu::triplet_add_gradient(*context, weight, upstream, of_x, to_x);
          if (to_y) cpu::triplet_add_gradient(*context, weight, upstream, of_y, to_y);
        },
        [&] {
          if (to_x) cuda::triplet_add_gradient(*context, weight, upstream, of_x, to_x);
          if (to_y) cuda::triplet_add_gradient(*context, weight, upstream, of_y, to_y);
        });
  });
}

duet_status duet_triplet_loss(duet_context* context, duet_vector row_loss, duet_vector row_active, duet_vector loss, duet_vector active) {
  return guard("triplet_loss", [&] {
    const auto terms = vector<const float>(row_loss, "row_loss", kAny);
    const auto weights = vector<const float>(row_active, "row_active", terms.size);
    const auto to_loss = vector<float>(loss, "loss", 1), to_active = vector<float>(active, "active", 1);
    dispatch(
        context, [&] { cpu::triplet_loss(*context, terms, weights, to_loss, to_active); },
        [&] { cuda::triplet_loss(*context, terms, weights, to_loss, to_active); });
  });
}

duet_status duet_triplet_backward(duet_context* context, const duet_triplet_inputs* inputs, duet_vector active, duet_vector grad_loss,
                                  duet_matrix grad_x, duet_matrix grad_y, duet_workspace workspace) {
  return guard("triplet_backward", [&] {
    const TripletInputs checked = check(inputs);
    const int64_t n = checked.x.rows, m = checked.y.rows, d = checked.x.columns;
    const auto weight = vector<const float>(active, "active", 1), upstream = vector<const float>(grad_loss, "grad_loss", 1);
    const auto to_x = matrix<float>(grad_x, "grad_x", n, d, Need::optional), to_y = matrix<float>(grad_y, "grad_y", m, d, Need::optional);
    check_workspace(context, checked, workspace);
    dispatch(
        context, [&] { cpu::triplet_backward(*context, checked, weight, upstream, to_x, to_y, workspace); },
        [&] { cuda::triplet_backward(*context, checked, weight, upstream, to_x, to_y, workspace); });
  });
}
