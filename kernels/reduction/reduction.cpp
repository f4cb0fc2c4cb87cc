#include "kernels/reduction/reduction.h"

#include <algorithm>

#include "kernels/core/arguments.h"
#include "kernels/reduction/reduction_backends.h"

namespace duet {
namespace {

// Where some scalars lie: from the first byte of one to the first byte of another.
struct Span {
  uintptr_t low = UINTPTR_MAX, high = 0;

  void add(const void* data) { low = std::min(low, reinterpret_cast<uintptr_t>(data)), high = std::max(high, reinterpret_cast<uintptr_t>(data)); }
  bool meets(const Span& other) const { return high != 0 && other.high != 0 && low < other.high + sizeof(float) && other.low < high + sizeof(float); }
};

// Every element of an array of views: one float each. Adds those that are given to a span, where the caller asks for one.
template <class... Spans>
void check_scalars(const duet_vector* given, const char* name, int64_t count, Need need, Spans&... span) {
  require(count >= 0, "count: expected 0 or more, got ", count);
  require(given != nullptr || count == 0, name, ": null for ", count, " vectors");
  for (int64_t k = 0; k < count; ++k) {
    // The name is put together only for a view that is refused.
    if (enum_value(given[k].dtype) != DUET_F32 || given[k].size != 1 || given[k].data == nullptr)
      if (!vector<float>(given[k], text(name, "[", k, "]").c_str(), 1, need)) continue;
    (span.add(given[k].data), ...);
  }
}

// Whether a float of theirs has a byte of this one.
bool shared_by_any(const float* one, const duet_vector* given, int64_t count) {
  const auto last = reinterpret_cast<uintptr_t>(one) + sizeof(float) - 1;
  bool shared = false;
  for (int64_t k = 0; k < count; ++k) shared |= last - reinterpret_cast<uintptr_t>(given[k].data) < 2 * sizeof(float) - 1;
  return shared;
}

// An array of checked scalars, or a single one (count -1).
struct Scalars {
  const duet_vector* given;
  const char* name;
  int64_t count = -1;

  int64_t size() const { return count < 0 ? 1 : count; }
  Span at(int64_t k) const {
    Span span;
    if (given[k].data != nullptr) span.add(given[k].data);
    return span;
  }
  std::string name_of(int64_t k) const { return count < 0 ? name : text(name, "[", k, "]"); }
};

// Each of those written against each of those read: for spans that meet, as they do where scalars of both kinds lie side by side.
[[gnu::noinline]] void require_apart(const Scalars& written, const Scalars& read) {
  for (int64_t i = 0; i < written.size(); ++i)
    for (int64_t k = 0; k < read.size(); ++k)
      if (written.at(i).meets(read.at(k))) require(false, written.name_of(i), ": shares memory with ", read.name_of(k));
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_weighted_mean_forward(duet_context* context, duet_vector values, duet_vector weights, duet_vector divisor, duet_vector loss) {
  return guard("weighted_mean_forward", [&] {
    Arguments arguments;
    const auto from = arguments.vector<const float>(values, "values", kAny);
    const auto weight = arguments.vector<const float>(weights, "weights", from.size, Need::optional);
    const auto over = arguments.vector<const float>(divisor, "divisor", 1, Need::optional);
    const auto to = arguments.vector<float>(loss, "loss", 1);
    arguments.check();
    dispatch(
        context, [&] { cpu::weighted_mean_forward(from, weight, over, to); }, [&] { cuda::weighted_mean_forward(*context, from, weight, over, to); });
  });
}

duet_status duet_weighted_mean_backward(duet_context* context, duet_vector weights, duet_vector divisor, duet_vector grad_loss,
                                        duet_vector grad_values) {
  return guard("weighted_mean_backward", [&] {
    Arguments arguments;
    const auto to = arguments.vector<float>(grad_values, "grad_values", kAny);
    const auto weight = arguments.vector<const float>(weights, "weights", to.size, Need::optional);
    const auto over = arguments.vector<const float>(divisor, "divisor", 1, Need::optional);
    const auto upstream = arguments.vector<const float>(grad_loss, "grad_loss", 1);
    arguments.check();
    dispatch(
        context, [&] { cpu::weighted_mean_backward(weight, over, upstream, to); },
        [&] { cuda::weighted_mean_backward(*context, weight, over, upstream, to); });
  });
}

duet_status duet_weighted_sum_forward(duet_context* context, const duet_vector* terms, const duet_vector* weights, int64_t count, duet_vector total) {
  return guard("weighted_sum_forward", [&] {
    check_scalars(terms, "terms", count, Need::required);
    check_scalars(weights, "weights", count, Need::required);
    const auto to = vector<float>(total, "total", 1);
    if (shared_by_any(to.data, terms, count)) require_apart({&total, "total"}, {terms, "terms", count});
    if (shared_by_any(to.data, weights, count)) require_apart({&total, "total"}, {weights, "weights", count});
    dispatch(
        context, [&] { cpu::weighted_sum_forward(terms, weights, count, to); },
        [&] { cuda::weighted_sum_forward(*context, terms, weights, count, to); });
  });
}

duet_status duet_weighted_sum_backward(duet_context* context, const duet_vector* weights, int64_t count, duet_vector grad_total,
                                       const duet_vector* grad_terms) {
  return guard("weighted_sum_backward", [&] {
    Span read, written;
    check_scalars(weights, "weights", count, Need::required, read);
    check_scalars(grad_terms, "grad_terms", count, Need::optional, written);
    const auto upstream = vector<const float>(grad_total, "grad_total", 1);
    if (written.meets(read)) require_apart({grad_terms, "grad_terms", count}, {weights, "weights", count});
    if (shared_by_any(upstream.data, grad_terms, count)) require_apart({grad_terms, "grad_terms", count}, {&grad_total, "grad_total"});
    dispatch(
        context, [&] { cpu::weighted_sum_backward(weights, count, upstream, grad_terms); },
        [&] { cuda::weighted_sum_backward(*context, weights, count, upstream, grad_terms); });
  });
}
