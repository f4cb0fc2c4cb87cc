#include "kernels/activation/activation.h"

#include <cstdio>

#include "kernels/activation/activation_backends.h"
#include "kernels/core/arguments.h"
#include "kernels/core/philox.h"

namespace duet {
namespace {

struct ActivationInputs {
  duet_activation_kind kind;
  Matrix<const float> x;
};

ActivationInputs check_inputs(const duet_activation_inputs* given, Arguments& arguments) {
  const auto inputs = load(given, "inputs");
  const duet_activation_kind kind =
      enumerator(inputs.kind, "kind", DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_GELU);
  return {kind, arguments.matrix<const float>(inputs.x, "x", kAny, kAny)};
}

}  // namespace
}  // namespace duet

using namespace duet;

Dropout duet::check_dropout(const duet_context* context, const duet_dropout_options* given, const char* name,
                            int64_t rows, int64_t columns, Arguments& arguments) {
  const auto options = load(given, name);
  require(options.drop_probability >= 0 && options.drop_probability < 1, name,
          ".drop_probability: expected 0 to below 1, got ", options.drop_probability);
  require(options.layer < (1u << 24), name, ".layer: expected below 2^24, got ", options.layer);
  check_first(options.first_row, rows, name, ".first_row");
  require(columns == 0 || options.first_row + rows <= INT64_MAX / columns, name,
          ".first_row: expected element numbers below 2^63, got ", options.first_row, " of ", columns, " columns");
  char step_name[32];  // on the stack, because every call of a layer builds it
  std::snprintf(step_name, sizeof step_name, "%s.step", name);
  const auto step = vector<const int64_t>(options.step, step_name, 1);
  arguments.add(name, step);
  // On the CPU the step is checked here. On a device its low 32 bits are used without a check.
  if (context != nullptr && context->device == DUET_DEVICE_CPU)
    require(step[0] >= 0 && step[0] <= UINT32_MAX, name, ".step: expected 0 to below 2^32, got ", step[0]);
  return {options.drop_probability, options.seed, kStreamDropout + 256 * options.layer, step, options.first_row};
}

duet_status duet_activation_forward(duet_context* context, const duet_activation_inputs* inputs, duet_matrix outputs) {
  return guard("activation_forward", [&] {
    Arguments arguments;
    const ActivationInputs checked = check_inputs(inputs, arguments);
    const auto to = arguments.in_place<float>(outputs, "outputs", checked.x);
    arguments.check();
    dispatch(
        context, [&] { cpu::activation_forward(*context, checked.kind, checked.x, to); },
        [&] { cuda::activation_forward(*context, checked.kind, checked.x, to); });
  });
}

duet_status duet_activation_backward(duet_context* context, const duet_activation_inputs* inputs,
                                     duet_matrix grad_outputs, duet_matrix grad_x) {
  return guard("activation_backward", [&] {
    Arguments arguments;
    const ActivationInputs checked = check_inputs(inputs, arguments);
    const auto upstream =
        arguments.matrix<const float>(grad_outputs, "grad_outputs", checked.x.rows, checked.x.columns);
    const auto to = arguments.matrix<float>(grad_x, "grad_x", checked.x.rows, checked.x.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::activation_backward(*context, checked.kind, checked.x, upstream, to); },
        [&] { cuda::activation_backward(*context, checked.kind, checked.x, upstream, to); });
  });
}

duet_status duet_dropout_forward(duet_context* context, duet_matrix x, const duet_dropout_options* options,
                                 duet_matrix outputs) {
  return guard("dropout_forward", [&] {
    Arguments arguments;
    const auto from = arguments.matrix<const float>(x, "x", kAny, kAny);
    const Dropout dropout = check_dropout(context, options, "options", from.rows, from.columns, arguments);
    const auto to = arguments.in_place<float>(outputs, "outputs", from);
    arguments.check();
    dispatch(
        context, [&] { cpu::dropout_forward(*context, dropout, from, to); },
        [&] { cuda::dropout_forward(*context, dropout, from, to); });
  });
}

duet_status duet_dropout_backward(duet_context* context, const duet_dropout_options* options, duet_matrix grad_outputs,
                                  duet_matrix grad_x) {
  return guard("dropout_backward", [&] {
    Arguments arguments;
    const auto upstream = arguments.matrix<const float>(grad_outputs, "grad_outputs", kAny, kAny);
    const Dropout dropout = check_dropout(context, options, "options", upstream.rows, upstream.columns, arguments);
    const auto to = arguments.matrix<float>(grad_x, "grad_x", upstream.rows, upstream.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::dropout_backward(*context, dropout, upstream, to); },
        [&] { cuda::dropout_backward(*context, dropout, upstream, to); });
  });
}
