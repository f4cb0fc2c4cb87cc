#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/core/arguments.h"
#include "kernels/cross_entropy/cross_entropy_backends.h"

namespace duet {
namespace {

constexpr int kMost = DUET_CROSS_ENTROPY_LOGITS;

// The names of a call's arguments in messages: those of the first, second, ... logits.
using Names = const char* const[kMost];
constexpr Names kLogits{"logits[0]", "logits[1]", "logits[2]", "logits[3]"},
    kRowLoss{"row_loss[0]", "row_loss[1]", "row_loss[2]", "row_loss[3]"},
    kRowWeight{"row_weight[0]", "row_weight[1]", "row_weight[2]", "row_weight[3]"},
    kGradLogits{"grad_logits[0]", "grad_logits[1]", "grad_logits[2]", "grad_logits[3]"};
constexpr Names kOneLogits{"logits"}, kOneRowLoss{"row_loss"}, kOneRowWeight{"row_weight"},
    kOneGradLogits{"grad_logits"};

void check_count(int64_t count) {
  require(count >= 1 && count <= kMost, "count: expected 1 to ", kMost, ", got ", count);
}
template <class View>
void check_array(const View* views, const char* name, int64_t count) {
  require(views != nullptr, name, ": null for ", count, " views");
}

template <class Part>
void take_logits(Arguments& arguments, const duet_matrix* logits, Names names, int64_t count,
                 const duet_matrix& targets, Part* parts) {
  for (int64_t k = 0; k < count; ++k)
    parts[k].logits = arguments.matrix<const float>(logits[k], names[k], k == 0 ? kAny : parts[0].logits.rows,
                                                    k == 0 ? kAny : parts[0].logits.columns);
  const auto q = arguments.matrix<const float>(targets, "targets", parts[0].logits.rows, parts[0].logits.columns);
  for (int64_t k = 0; k < count; ++k) parts[k].targets = q;
}

void forward(duet_context* context, const duet_matrix* logits, Names logits_names, int64_t count,
             const duet_matrix& targets, const duet_vector* row_loss, Names row_loss_names) {
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

void backward(duet_context* context, const duet_matrix* logits, Names logits_names, int64_t count,
              const duet_matrix& targets, const duet_vector* row_weight, Names row_weight_names,
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

duet_status duet_cross_entropy_forward(duet_context* context, duet_matrix logits, duet_matrix targets,
                                       duet_vector row_loss) {
  return guard("cross_entropy_forward",
               [&] { forward(context, &logits, kOneLogits, 1, targets, &row_loss, kOneRowLoss); });
}

duet_status duet_cross_entropy_backward(duet_context* context, duet_matrix logits, duet_matrix targets,
                                        duet_vector row_weight, duet_matrix grad_logits) {
  return guard("cross_entropy_backward", [&] {
    backward(context, &logits, kOneLogits, 1, targets, &row_weight, kOneRowWeight, &grad_logits, kOneGradLogits);
  });
}

duet_status duet_cross_entropy_forward_all(duet_context* context, const duet_matrix* logits, int64_t count,
                                           duet_matrix targets, const duet_vector* row_loss) {
  return guard("cross_entropy_forward_all", [&] {
    check_count(count);
    check_array(logits, "logits", count);
    check_array(row_loss, "row_loss", count);
    forward(context, logits, kLogits, count, targets, row_loss, kRowLoss);
  });
}

duet_status duet_cross_entropy_backward_all(duet_context* context, const duet_matrix* logits, int64_t count,
                                            duet_matrix targets, const duet_vector* row_weight,
                                            const duet_matrix* grad_logits) {
  return guard("cross_entropy_backward_all", [&] {
    check_count(count);
    check_array(logits, "logits", count);
    check_array(row_weight, "row_weight", count);
    check_array(grad_logits, "grad_logits", count);
    backward(context, logits, kLogits, count, targets, row_weight, kRowWeight, grad_logits, kGradLogits);
  });
}
