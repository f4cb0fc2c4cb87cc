#include "kernels/decorrelation/decorrelation.h"

#include "kernels/core/arguments.h"
#include "kernels/decorrelation/decorrelation_backends.h"

namespace duet {
namespace {

struct Pairs {
  Matrix<const float> a, v;
  float eps;
};

Pairs check(const duet_decorrelation_inputs* inputs, Arguments& arguments) {
  const auto given = load(inputs, "inputs");
  const auto a = arguments.side(given.a, "inputs.a", kAny);
  const auto v = arguments.matrix<const float>(given.v, "inputs.v", a.rows, a.columns);
  require(given.eps > 0, "inputs.eps: expected a positive number, got ", given.eps);
  return {a, v, given.eps};
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
    Arguments arguments;
    require(bytes != nullptr, "bytes: null");
    *bytes = workspace_bytes(context, check(inputs, arguments));
  });
}

duet_status duet_decorrelation_forward(duet_context* context, const duet_decorrelation_inputs* inputs, duet_vector loss,
                                       duet_workspace workspace) {
  return guard("decorrelation_forward", [&] {
    Arguments arguments;
    const Pairs pairs = check(inputs, arguments);
    const auto to = arguments.vector<float>(loss, "loss", 1);
    arguments.check(workspace, workspace_bytes(context, pairs));
    const Workspace scratch(workspace);
    dispatch(
        context, [&] { cpu::decorrelation_forward(*context, pairs.a, pairs.v, pairs.eps, to, scratch); },
        [&] { cuda::decorrelation_forward(*context, pairs.a, pairs.v, pairs.eps, to, scratch); });
  });
}

duet_status duet_decorrelation_backward(duet_context* context, const duet_decorrelation_inputs* inputs,
                                        duet_vector grad_loss, duet_matrix grad_a, duet_matrix grad_v,
                                        duet_workspace workspace) {
  return guard("decorrelation_backward", [&] {
    Arguments arguments;
    const Pairs pairs = check(inputs, arguments);
    const auto upstream = arguments.vector<const float>(grad_loss, "grad_loss", 1);
    const auto to_a = arguments.matrix<float>(grad_a, "grad_a", pairs.a.rows, pairs.a.columns, Need::optional);
    const auto to_v = arguments.matrix<float>(grad_v, "grad_v", pairs.a.rows, pairs.a.columns, Need::optional);
    arguments.check(workspace, workspace_bytes(context, pairs));
    const Workspace scratch(workspace);
    dispatch(
        context,
        [&] { cpu::decorrelation_backward(*context, pairs.a, pairs.v, pairs.eps, upstream, to_a, to_v, scratch); },
        [&] { cuda::decorrelation_backward(*context, pairs.a, pairs.v, pairs.eps, upstream, to_a, to_v, scratch); });
  });
}
