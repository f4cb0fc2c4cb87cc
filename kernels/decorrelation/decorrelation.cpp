#include "kernels/decorrelation/decorrelation.h"

#include "kernels/core/arguments.h"
#include "kernels/decorrelation/decorrelation_backends.h"

namespace duet {
namespace {

constexpr float kDefaultEps = 1e-5f;

struct Pairs {
  Matrix<const float> a, v;
  float eps;
};

Pairs check(const duet_decorrelation_inputs* inputs, Arguments& arguments) {
  const auto given = load(inputs, "inputs");
  const auto a = arguments.side(given.a, "inputs.a", kAny);
  const auto v = arguments.side(given.v, "inputs.v", a.columns, a.rows);
  require(given.eps >= 0, "inputs.eps: expected a positive number, or 0 for the default, got ", given.eps);
  require_reserved(given.reserved, "inputs.reserved");
  return {a, v, given.eps == 0 ? kDefaultEps : given.eps};
}

size_t workspace_bytes(const duet_context* context, const Pairs& pairs) {
  return dispatch(
      context, [&] { return cpu::decorrelation_workspace(pairs.a.rows, pairs.a.columns); },
      [&] { return cuda::decorrelation_workspace(pairs.a.rows, pairs.a.columns); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_decorrelation_workspace(const duet_context* context, const duet_decorrelation_inputs* inputs,
                                         size_t* bytes) {
  return guard("decorrelation_workspace", [&] {
    Arguments arguments(Look::shapes);
    require(bytes != nullptr, "bytes: null");
    const Pairs pairs = check(inputs, arguments);
    *bytes = workspace_bytes(context, pairs) + arguments.reserved();
  });
}

duet_status duet_decorrelation_forward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                       const duet_decorrelation_outputs* outputs, duet_workspace workspace) {
  return guard("decorrelation_forward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(outputs, "outputs");
    const Pairs pairs = check(inputs, arguments);
    const auto to = arguments.vector<float>(raw.loss, "outputs.loss", 1);
    arguments.check(workspace, workspace_bytes(context, pairs));
    workspace = widen(context, arguments, workspace);
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::decorrelation_forward(*context, pairs.a, pairs.v, pairs.eps, to, scratch); },
        [&] { cuda::decorrelation_forward(*context, pairs.a, pairs.v, pairs.eps, to, scratch); });
  });
}

duet_status duet_decorrelation_backward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                        const duet_decorrelation_gradients* gradients, duet_workspace workspace) {
  return guard("decorrelation_backward", [&] {
    Arguments arguments(workspace);
    const auto raw = load(gradients, "gradients");
    const Pairs pairs = check(inputs, arguments);
    const auto upstream = arguments.vector<const float>(raw.grad_loss, "gradients.grad_loss", 1);
    const auto to_a =
        arguments.matrix<float>(raw.grad_a, "gradients.grad_a", pairs.a.rows, pairs.a.columns, Need::optional);
    const auto to_v =
        arguments.matrix<float>(raw.grad_v, "gradients.grad_v", pairs.a.rows, pairs.a.columns, Need::optional);
    arguments.check(workspace, workspace_bytes(context, pairs));
    workspace = widen(context, arguments, workspace);
    const Workspace scratch(workspace);
    dispatch(
        context,
        [&] { cpu::decorrelation_backward(*context, pairs.a, pairs.v, pairs.eps, upstream, to_a, to_v, scratch); },
        [&] { cuda::decorrelation_backward(*context, pairs.a, pairs.v, pairs.eps, upstream, to_a, to_v, scratch); });
  });
}
