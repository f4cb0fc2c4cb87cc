#include "kernels/reduction/reduction.h"

#include "kernels/reduction/reduction_backends.h"

namespace duet {
namespace {

// Every element of an array of views: one float each.
void check_scalars(const duet_vector* given, const char* name, int64_t count, Need need = Need::required) {
  require(count >= 0, "count: expected 0 or more, got ", count);
  require(given != nullptr || count == 0, name, ": null for ", count, " vectors");
  // The name is put together only for a view that is refused.
  for (int64_t k = 0; k < count; ++k)
    if (given[k].dtype != DUET_F32 || given[k].size != 1 || given[k].data == nullptr)
      vector<float>(given[k], text(name, "[", k, "]").c_str(), 1, need);
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_weighted_mean_forward(duet_context* context, duet_vector values, duet_vector weights, duet_vector divisor, duet_vector loss) {
  return guard("weighted_mean_forward", [&] {
    const auto from = vector<const float>(values, "values", kAny);
    const auto weight = vector<const float>(weights, "weights", from.size, Need::optional);
    const auto over = vector<const float>(divisor, "divisor", 1, Need::optional);
    const auto to = vector<float>(loss, "loss", 1);
    dispatch(
        context, [&] { cpu::weighted_mean_forward(from, weight, over, to); }, [&] { cuda::weighted_mean_forward(*context, from, weight, over, to); });
  });
}

duet_status duet_weighted_mean_backward(duet_context* context, duet_vector weights, duet_vector divisor, duet_vector grad_loss,
                                        duet_vector grad_values) {
  return guard("weighted_mean_backward", [&] {
    const auto to = vector<float>(grad_values, "grad_values", kAny);
    const auto weight = vector<const float>(weights, "weights", to.size, Need::optional);
    const auto over = vector<const float>(divisor, "divisor", 1, Need::optional);
    const auto upstream = vector<const float>(grad_loss, "grad_loss", 1);
    dispatch(
        context, [&] { cpu::weighted_mean_backward(weight, over, upstream, to); },
        [&] { cuda::weighted_mean_backward(*context, weight, over, upstream, to); });
  });
}

duet_status duet_weighted_sum_forward(duet_context* context, const duet_vector* terms, const duet_vector* weights, int64_t count, duet_vector total) {
  return guard("weighted_sum_forward", [&] {
    check_scalars(terms, "terms", count);
    check_scalars(weights, "weights", count);
    const auto to = vector<float>(total, "total", 1);
    dispatch(
        context, [&] { cpu::weighted_sum_forward(terms, weights, count, to); },
        [&] { cuda::weighted_sum_forward(*context, terms, weights, count, to); });
  });
}

duet_status duet_weighted_sum_backward(duet_context* context, const duet_vector* weights, int64_t count, duet_vector grad_total,
                                       const duet_vector* grad_terms) {
  return guard("weighted_sum_backward", [&] {
    check_scalars(weights, "weights", count);
    check_scalars(grad_terms, "grad_terms", count, Need::optional);
    const auto upstream = vector<const float>(grad_total, "grad_total", 1);
    dispatch(
        context, [&] { cpu::weighted_sum_backward(weights, count, upstream, grad_terms); },
        [&] { cuda::weighted_sum_backward(*context, weights, count, upstream, grad_terms); });
  });
}
