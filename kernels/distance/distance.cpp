#include "kernels/distance/distance.h"

#include "kernels/distance/distance_backends.h"

using namespace duet;

namespace {

DistanceInputs check(const duet_distance_inputs* given) {
  const duet_distance_inputs inputs = load(given, "inputs");
  const int metric = enum_value(inputs.metric);
  require(metric >= DUET_SQEUCLIDEAN && metric <= DUET_INNER, "inputs.metric: unknown value ", metric);
  const auto x = matrix<const float>(inputs.x, "inputs.x", kAny, kAny);
  return {x, matrix<const float>(inputs.y, "inputs.y", kAny, x.columns), inputs.metric};
}

size_t needed(const duet_context* context, const DistanceInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::distance_workspace(*context, inputs); }, [&] { return cuda::distance_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_distance_workspace(const duet_context* context, const duet_distance_inputs* inputs, size_t* bytes) {
  return guard("distance_workspace", [&] {
    const DistanceInputs checked = check(inputs);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked);
  });
}

duet_status duet_distance_forward(duet_context* context, const duet_distance_inputs* inputs, duet_matrix distances, duet_workspace workspace) {
  return guard("distance_forward", [&] {
    const DistanceInputs checked = check(inputs);
    const auto out = matrix<float>(distances, "distances", checked.x.rows, checked.y.rows);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::distance_forward(*context, checked, out, workspace); },
        [&] { cuda::distance_forward(*context, checked, out, workspace); });
  });
}

duet_status duet_distance_backward(duet_context* context, const duet_distance_inputs* inputs, duet_matrix distances, duet_matrix grad_distances,
                                   duet_matrix grad_x, duet_matrix grad_y, duet_workspace workspace) {
  return guard("distance_backward", [&] {
    const DistanceInputs checked = check(inputs);
    const int64_t n = checked.x.rows, m = checked.y.rows, d = checked.x.columns;
    Matrix<const float> values;
    if (checked.metric == DUET_EUCLIDEAN) values = matrix<const float>(distances, "distances", n, m);
    const auto grad = matrix<const float>(grad_distances, "grad_distances", n, m);
    const auto to_x = matrix<float>(grad_x, "grad_x", n, d, Need::optional), to_y = matrix<float>(grad_y, "grad_y", m, d, Need::optional);
    Workspace(workspace).check(needed(context, checked));
    dispatch(
        context, [&] { cpu::distance_backward(*context, checked, values, grad, to_x, to_y, workspace); },
        [&] { cuda::distance_backward(*context, checked, values, grad, to_x, to_y, workspace); });
  });
}
