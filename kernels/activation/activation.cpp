#include "kernels/activation/activation.h"

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
      enumerator(inputs.kind, "inputs.kind", DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_GELU);
  require_reserved(inputs.reserved, "inputs.reserved");
  return {kind, arguments.matrix<const float>(inputs.x, "inputs.x", kAny, kAny)};
}

}  // namespace
}  // namespace duet

using namespace duet;

Dropout duet::check_dropout(const duet_context* context, const duet_dropout_options* given, int64_t rows,
                            int64_t columns, Arguments& arguments) {
  const auto options = load(given, "inputs.dropout");
  require(options.drop_probability >= 0 && options.drop_probability < 1,
          "inputs.dropout.drop_probability: expected 0 to below 1, got ", options.drop_probability);
  require(options.layer < (1u << 24), "inputs.dropout.layer: expected below 2^24, got ", options.layer);
  check_first(options.first_row, rows, "inputs.dropout", ".first_row");
  require(columns == 0 || options.first_row + rows <= INT64_MAX / columns,
          "inputs.dropout.first_row: expected element numbers below 2^63, got ", options.first_row, " of ", columns,
          " columns");
  const auto step = arguments.vector<const int64_t>(options.step, "inputs.dropout.step", 1);
  // On the CPU the step is checked here. On a device its low 32 bits are used without a check.
  if (arguments.look() == Look::data && context != nullptr && context->device == DUET_DEVICE_CPU)
    require(step[0] >= 0 && step[0] <= UINT32_MAX, "inputs.dropout.step: expected 0 to below 2^32, got ", step[0]);
  return {options.drop_probability, options.seed, kStreamDropout + 256 * options.layer, step, options.first_row};
}

bool duet::drops(const duet_dropout_options* given) {
  return given != nullptr && load(given, "inputs.dropout").drop_probability != 0;
}

duet_status duet_activation_forward(duet_context* context, const duet_activation_inputs* inputs,
                                    const duet_activation_outputs* outputs) {
  return guard("activation_forward", [&] {
    Arguments arguments;
    const auto raw = load(outputs, "outputs");
    const ActivationInputs checked = check_inputs(inputs, arguments);
    const auto to = arguments.in_place<float>(raw.outputs, "outputs.outputs", checked.x);
    arguments.check();
    dispatch(
        context, [&] { cpu::activation_forward(*context, checked.kind, checked.x, to); },
        [&] { cuda::activation_forward(*context, checked.kind, checked.x, to); });
  });
}

duet_status duet_activation_backward(duet_context* context, const duet_activation_inputs* inputs,
                                     const duet_activation_gradients* gradients) {
  return guard("activation_backward", [&] {
    Arguments arguments;
    const auto raw = load(gradients, "gradients");
    const ActivationInputs checked = check_inputs(inputs, arguments);
    const auto upstream =
        arguments.matrix<const float>(raw.grad_outputs, "gradients.grad_outputs", checked.x.rows, checked.x.columns);
    const auto to = arguments.matrix<float>(raw.grad_x, "gradients.grad_x", checked.x.rows, checked.x.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::activation_backward(*context, checked.kind, checked.x, upstream, to); },
        [&] { cuda::activation_backward(*context, checked.kind, checked.x, upstream, to); });
  });
}

duet_status duet_dropout_forward(duet_context* context, const duet_dropout_inputs* inputs,
                                 const duet_dropout_outputs* outputs) {
  return guard("dropout_forward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const auto from = arguments.matrix<const float>(given.x, "inputs.x", kAny, kAny);
    const Dropout dropout = check_dropout(context, given.dropout, from.rows, from.columns, arguments);
    const auto to = arguments.in_place<float>(raw.outputs, "outputs.outputs", from);
    arguments.check();
    dispatch(
        context, [&] { cpu::dropout_forward(*context, dropout, from, to); },
        [&] { cuda::dropout_forward(*context, dropout, from, to); });
  });
}

duet_status duet_dropout_backward(duet_context* context, const duet_dropout_inputs* inputs,
                                  const duet_dropout_gradients* gradients) {
  return guard("dropout_backward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    const auto upstream = arguments.matrix<const float>(raw.grad_outputs, "gradients.grad_outputs", kAny, kAny);
    const Dropout dropout = check_dropout(context, given.dropout, upstream.rows, upstream.columns, arguments);
    const auto to = arguments.matrix<float>(raw.grad_x, "gradients.grad_x", upstream.rows, upstream.columns);
    arguments.check();
    dispatch(
        context, [&] { cpu::dropout_backward(*context, dropout, upstream, to); },
        [&] { cuda::dropout_backward(*context, dropout, upstream, to); });
  });
}
