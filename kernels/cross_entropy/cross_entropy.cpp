#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/core/arguments.h"
#include "kernels/cross_entropy/cross_entropy_backends.h"

namespace duet {
namespace {

constexpr int kMost = DUET_CROSS_ENTROPY_LOGITS;

// The names of a call's arguments in messages: those of the first, second, ... logits.
using Names = const char* const[kMost];
constexpr Names kLogits{"inputs.logits[0]", "inputs.logits[1]", "inputs.logits[2]", "inputs.logits[3]"},
    kRowLoss{"outputs.row_loss[0]", "outputs.row_loss[1]", "outputs.row_loss[2]", "outputs.row_loss[3]"},
    kRowWeight{"gradients.row_weight[0]", "gradients.row_weight[1]", "gradients.row_weight[2]",
               "gradients.row_weight[3]"},
    kGradLogits{"gradients.grad_logits[0]", "gradients.grad_logits[1]", "gradients.grad_logits[2]",
                "gradients.grad_logits[3]"};
constexpr Names kOneLogits{"inputs.logits"}, kOneRowLoss{"outputs.row_loss"}, kOneRowWeight{"gradients.row_weight"},
    kOneGradLogits{"gradients.grad_logits"};

void check_count(int64_t count) {
  require(count >= 1 && count <= kMost, "inputs.count: expected 1 to ", kMost, ", got ", count);
}
template <class View>
void check_array(const View* views, const char* name, int64_t count) {
  require(views != nullptr, name, ": null for ", count, " views");
}

template <class Part>
void take_logits(Arguments& arguments, const duet_const_matrix* logits, Names names, int64_t count,
                 const duet_const_matrix& targets, Part* parts) {
  for (int64_t k = 0; k < count; ++k)
    parts[k].logits = arguments.matrix<const float>(logits[k], names[k], k == 0 ? kAny : parts[0].logits.rows,
                                                    k == 0 ? kAny : parts[0].logits.columns);
  const auto q =
      arguments.matrix<const float>(targets, "inputs.targets", parts[0].logits.rows, parts[0].logits.columns);
  for (int64_t k = 0; k < count; ++k) parts[k].targets = q;
}

void forward(duet_context* context, const duet_const_matrix* logits, Names logits_names, int64_t count,
             const duet_const_matrix& targets, const duet_vector* row_loss, Names row_loss_names) {
  Arguments arguments;
  CrossEntropyForward parts[kMost];
  take_logits(arguments, logits, logits_names, count, targets, parts);
  for (int64_t k = 0; k < count; ++k)
    parts[k].row_loss = arguments.vector<float>(row_loss[k], row_loss_names[k], parts[k].logits.rows);
  arguments.check();
  const auto on_cpu = [&] {
    for (int64_t k = 0; k < count; ++k) cpu::cross_entropy_forward(*context, parts[k]);
  };
  dispatch(context, on_cpu, [&] { cuda::cross_entropy_forward(*context, parts, count); });
}

void backward(duet_context* context, const duet_const_matrix* logits, Names logits_names, int64_t count,
              const duet_const_matrix& targets, const duet_const_vector* row_weight, Names row_weight_names,
              const duet_matrix* grad_logits, Names grad_logits_names) {
  Arguments arguments;
  CrossEntropyBackward parts[kMost];
  take_logits(arguments, logits, logits_names, count, targets, parts);
  for (int64_t k = 0; k < count; ++k) {
    parts[k].row_weight = arguments.vector<const float>(row_weight[k], row_weight_names[k], parts[k].logits.rows);
    parts[k].grad_logits =
        arguments.matrix<float>(grad_logits[k], grad_logits_names[k], parts[k].logits.rows, parts[k].logits.columns);
  }
  arguments.check();
  const auto on_cpu = [&] {
    for (int64_t k = 0; k < count; ++k) cpu::cross_entropy_backward(*context, parts[k]);
  };
  dispatch(context, on_cpu, [&] { cuda::cross_entropy_backward(*context, parts, count); });
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_cross_entropy_forward(duet_context* context, const duet_cross_entropy_inputs* inputs,
                                       const duet_cross_entropy_outputs* outputs) {
  return guard("cross_entropy_forward", [&] {
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    forward(context, &given.logits, kOneLogits, 1, given.targets, &raw.row_loss, kOneRowLoss);
  });
}

duet_status duet_cross_entropy_backward(duet_context* context, const duet_cross_entropy_inputs* inputs,
                                        const duet_cross_entropy_gradients* gradients) {
  return guard("cross_entropy_backward", [&] {
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    backward(context, &given.logits, kOneLogits, 1, given.targets, &raw.row_weight, kOneRowWeight, &raw.grad_logits,
             kOneGradLogits);
  });
}

duet_status duet_cross_entropy_forward_all(duet_context* context, const duet_cross_entropy_all_inputs* inputs,
                                           const duet_cross_entropy_all_outputs* outputs) {
  return guard("cross_entropy_forward_all", [&] {
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    check_count(given.count);
    check_array(given.logits, "inputs.logits", given.count);
    check_array(raw.row_loss, "outputs.row_loss", given.count);
    forward(context, given.logits, kLogits, given.count, given.targets, raw.row_loss, kRowLoss);
  });
}

duet_status duet_cross_entropy_backward_all(duet_context* context, const duet_cross_entropy_all_inputs* inputs,
                                            const duet_cross_entropy_all_gradients* gradients) {
  return guard("cross_entropy_backward_all", [&] {
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    check_count(given.count);
    check_array(given.logits, "inputs.logits", given.count);
    check_array(raw.row_weight, "gradients.row_weight", given.count);
    check_array(raw.grad_logits, "gradients.grad_logits", given.count);
    backward(context, given.logits, kLogits, given.count, given.targets, raw.row_weight, kRowWeight, raw.grad_logits,
             kGradLogits);
  });
}
