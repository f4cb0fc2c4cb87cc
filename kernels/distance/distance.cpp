#include "kernels/distance/distance.h"

#include "kernels/core/arguments.h"
#include "kernels/distance/distance_backends.h"

using namespace duet;

namespace {

DistanceInputs check(const duet_distance_inputs* given, Arguments& arguments) {
  const duet_distance_inputs inputs = load(given, "inputs");
  const duet_metric metric = enumerator(inputs.metric, "inputs.metric", DUET_METRIC_INNER, DUET_METRIC_COSINE);
  require_reserved(inputs.reserved, "inputs.reserved");
  const auto x = arguments.side(inputs.x, "inputs.x", kAny);
  return {x, arguments.side(inputs.y, "inputs.y", x.columns), metric};
}

size_t needed(const duet_context* context, const DistanceInputs& inputs) {
  return dispatch(
      context, [&] { return cpu::distance_workspace(*context, inputs); },
      [&] { return cuda::distance_workspace(*context, inputs); });
}

}  // namespace

duet_status duet_distance_workspace(const duet_context* context, const duet_distance_inputs* inputs, size_t* bytes) {
  return guard("distance_workspace", [&] {
    Arguments arguments(Look::shapes);
    const DistanceInputs checked = check(inputs, arguments);
    require(bytes != nullptr, "bytes: null");
    *bytes = needed(context, checked) + arguments.reserved();
  });
}

duet_status duet_distance_forward(duet_context* context, const duet_distance_inputs* inputs,
                                  const duet_distance_outputs* outputs, duet_workspace workspace) {
  return guard("distance_forward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const DistanceInputs checked = check(inputs, arguments);
    const auto out = arguments.matrix<float>(raw.distances, "outputs.distances", checked.x.rows, checked.y.rows);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::distance_forward(*context, checked, out, workspace); },
        [&] { cuda::distance_forward(*context, checked, out, workspace); });
  });
}

duet_status duet_distance_backward(duet_context* context, const duet_distance_inputs* inputs,
                                   const duet_distance_gradients* gradients, duet_workspace workspace) {
  return guard("distance_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const DistanceInputs checked = check(inputs, arguments);
    const int64_t n = checked.x.rows, m = checked.y.rows, d = checked.x.columns;
    Matrix<const float> values;
    if (checked.metric == DUET_METRIC_EUCLIDEAN)
      values = arguments.matrix<const float>(raw.distances, "gradients.distances", n, m);
    if (checked.metric == DUET_METRIC_COSINE)
      values = arguments.matrix<const float>(raw.distances, "gradients.distances", n, m, Need::optional);
    if (checked.metric == DUET_METRIC_SQEUCLIDEAN || checked.metric == DUET_METRIC_INNER)
      require_absent(raw.distances, "gradients.distances", "for a metric that does not read them");
    const auto grad = arguments.matrix<const float>(raw.grad_distances, "gradients.grad_distances", n, m);
    const auto to_x = arguments.matrix<float>(raw.grad_x, "gradients.grad_x", n, d, Need::optional),
               to_y = arguments.matrix<float>(raw.grad_y, "gradients.grad_y", m, d, Need::optional);
    arguments.check(workspace, needed(context, checked));
    workspace = widen(context, arguments, workspace);
    dispatch(
        context, [&] { cpu::distance_backward(*context, checked, values, grad, to_x, to_y, workspace); },
        [&] { cuda::distance_backward(*context, checked, values, grad, to_x, to_y, workspace); });
  });
}
