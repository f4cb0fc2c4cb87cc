#include "kernels/reduction/reduction.h"

#include <algorithm>

#include "kernels/core/arguments.h"
#include "kernels/reduction/reduction_backends.h"

namespace duet {
namespace {

// Where some scalars lie: from the first byte of one to the first byte of another.
struct Span {
  uintptr_t low = UINTPTR_MAX, high = 0;

  void add(const void* data) {
    low = std::min(low, reinterpret_cast<uintptr_t>(data)), high = std::max(high, reinterpret_cast<uintptr_t>(data));
  }
  bool meets(const Span& other) const {
    return high != 0 && other.high != 0 && low < other.high + sizeof(float) && other.low < high + sizeof(float);
  }
};

// Checks an array of views of one float each. Where the caller passes a span, it grows by the views that are given.
template <class... Spans>
void check_scalars(const duet_vector* given, const char* name, int64_t count, Need need, Spans&... span) {
  require(count >= 0, "count: expected 0 or more, got ", count);
  require(given != nullptr || count == 0, name, ": null for ", count, " vectors");
  for (int64_t k = 0; k < count; ++k) {
    // The name is built only for a view that is refused.
    if (enum_value(given[k].dtype) != DUET_DTYPE_F32 || given[k].size != 1 || given[k].data == nullptr)
      if (!vector<float>(given[k], text(name, "[", k, "]").c_str(), 1, need)) continue;
    (span.add(given[k].data), ...);
  }
}

// Whether any of these floats shares a byte with this one.
bool shared_by_any(const float* one, const duet_vector* given, int64_t count) {
  const auto last = reinterpret_cast<uintptr_t>(one) + sizeof(float) - 1;
  bool shared = false;
  for (int64_t k = 0; k < count; ++k)
    shared |= last - reinterpret_cast<uintptr_t>(given[k].data) < 2 * sizeof(float) - 1;
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

// Compares every written scalar with every read one. Needed only where their spans overlap, as they do where scalars of
// both kinds lie side by side.
[[gnu::noinline]] void require_apart(const Scalars& written, const Scalars& read) {
  for (int64_t i = 0; i < written.size(); ++i)
    for (int64_t k = 0; k < read.size(); ++k)
      if (written.at(i).meets(read.at(k))) require(false, written.name_of(i), ": shares memory with ", read.name_of(k));
}

// Calls view(vector, size, need, name...) for every vector of the inputs. The name comes in parts, which are joined
// only for a message.
template <class View>
void for_each_vector(const TermsInputs& inputs, View&& view) {
  for (int64_t k = 0; k < inputs.term_count; ++k)
    view(inputs.terms[k].weight, 1, Need::required, "inputs.terms[", k, "].weight");
  for (int64_t m = 0; m < inputs.mean_count; ++m) {
    const duet_mean& mean = inputs.means[m];
    view(mean.values, kAny, Need::required, "inputs.means[", m, "].values");
    view(mean.weights, mean.values.size, Need::optional, "inputs.means[", m, "].weights");
    view(mean.divisor, 1, Need::optional, "inputs.means[", m, "].divisor");
  }
}

template <class... Name>
void check_floats(const duet_vector& view, int64_t size, Need need, const Name&... name) {
  const bool absent = need == Need::optional && view.data == nullptr && view.size == 0;
  const bool good = enum_value(view.dtype) == DUET_DTYPE_F32 && view.size >= 0 && view.size <= kMostElements &&
                    (size == kAny || view.size == size) && (view.data != nullptr || view.size == 0);
  if (!absent && !good) vector<float>(view, text(name...).c_str(), size, need);
}

bool share_floats(const duet_vector& a, const duet_vector& b) {
  const auto first = [](const duet_vector& view) { return reinterpret_cast<uintptr_t>(view.data); };
  const auto end = [&](const duet_vector& view) {
    return first(view) + static_cast<uintptr_t>(view.size) * sizeof(float);
  };
  return a.size > 0 && b.size > 0 && first(a) < end(b) && first(b) < end(a);
}

TermsInputs check(const duet_terms_inputs* given) {
  const duet_terms_inputs raw = load(given, "inputs");
  const TermsInputs inputs{raw.terms, raw.term_count, raw.means, raw.mean_count};
  require(inputs.term_count >= 0, "inputs.term_count: expected 0 or more, got ", inputs.term_count);
  require(inputs.mean_count >= 0, "inputs.mean_count: expected 0 or more, got ", inputs.mean_count);
  require(inputs.terms != nullptr || inputs.term_count == 0, "inputs.terms: null for ", inputs.term_count, " terms");
  require(inputs.means != nullptr || inputs.mean_count == 0, "inputs.means: null for ", inputs.mean_count, " means");
  int64_t means = 0;
  for (int64_t k = 0; k < inputs.term_count; ++k) {
    const int64_t of_term = inputs.terms[k].means;
    require(of_term == 1 || of_term == 2, "inputs.terms[", k, "].means: expected 1 or 2, got ", of_term);
    means += of_term;
  }
  require(inputs.mean_count == means, "inputs.mean_count: expected the ", means, " of the terms, got ",
          inputs.mean_count);
  for_each_vector(inputs, [](const auto&... view) { check_floats(view...); });
  return inputs;
}

// written: its name comes in parts too.
template <class... Name>
void require_apart_from(const TermsInputs& inputs, const duet_vector& written, const Name&... name) {
  for_each_vector(inputs, [&](const duet_vector& read, int64_t, Need, const auto&... of_read) {
    if (share_floats(written, read)) require(false, name..., ": shares memory with ", of_read...);
  });
}

void check_gradients(const TermsInputs& inputs, const duet_vector* grads, const duet_vector& grad_total) {
  require(grads != nullptr || inputs.mean_count == 0, "grad_values: null for ", inputs.mean_count, " vectors");
  for (int64_t m = 0; m < inputs.mean_count; ++m) {
    const duet_vector& grad = grads[m];
    check_floats(grad, inputs.means[m].values.size, Need::optional, "grad_values[", m, "]");
    if (grad.size == 0) continue;
    require_apart_from(inputs, grad, "grad_values[", m, "]");
    if (share_floats(grad, grad_total)) require(false, "grad_values[", m, "]: shares memory with grad_total");
    for (int64_t other = 0; other < m; ++other)
      if (share_floats(grad, grads[other]) && !(grad.data == grads[other].data && grad.size == grads[other].size))
        require(false, "grad_values[", m, "]: shares a part of its memory with grad_values[", other, "]");
  }
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_weighted_mean_forward(duet_context* context, duet_vector values, duet_vector weights,
                                       duet_vector divisor, duet_vector loss) {
  return guard("weighted_mean_forward", [&] {
    Arguments arguments;
    const auto from = arguments.vector<const float>(values, "values", kAny);
    const auto weight = arguments.vector<const float>(weights, "weights", from.size, Need::optional);
    const auto over = arguments.vector<const float>(divisor, "divisor", 1, Need::optional);
    const auto to = arguments.vector<float>(loss, "loss", 1);
    arguments.check();
    dispatch(
        context, [&] { cpu::weighted_mean_forward(from, weight, over, to); },
        [&] { cuda::weighted_mean_forward(*context, from, weight, over, to); });
  });
}

duet_status duet_weighted_mean_backward(duet_context* context, duet_vector weights, duet_vector divisor,
                                        duet_vector grad_loss, duet_vector grad_values) {
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

duet_status duet_weighted_sum_forward(duet_context* context, const duet_vector* terms, const duet_vector* weights,
                                      int64_t count, duet_vector total) {
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

duet_status duet_weighted_sum_backward(duet_context* context, const duet_vector* weights, int64_t count,
                                       duet_vector grad_total, const duet_vector* grad_terms) {
  return guard("weighted_sum_backward", [&] {
    Span read, written;
    check_scalars(weights, "weights", count, Need::required, read);
    check_scalars(grad_terms, "grad_terms", count, Need::optional, written);
    const auto upstream = vector<const float>(grad_total, "grad_total", 1);
    if (written.meets(read)) require_apart({grad_terms, "grad_terms", count}, {weights, "weights", count});
    if (shared_by_any(upstream.data, grad_terms, count))
      require_apart({grad_terms, "grad_terms", count}, {&grad_total, "grad_total"});
    dispatch(
        context, [&] { cpu::weighted_sum_backward(weights, count, upstream, grad_terms); },
        [&] { cuda::weighted_sum_backward(*context, weights, count, upstream, grad_terms); });
  });
}

duet_status duet_terms_forward(duet_context* context, const duet_terms_inputs* inputs, duet_vector losses,
                               duet_vector total) {
  return guard("terms_forward", [&] {
    const TermsInputs terms = check(inputs);
    Arguments arguments;
    const auto each = arguments.vector<float>(losses, "losses", terms.term_count, Need::optional);
    const auto sum = arguments.vector<float>(total, "total", 1);
    arguments.check();
    require_apart_from(terms, losses, "losses");
    require_apart_from(terms, total, "total");
    dispatch(
        context, [&] { cpu::terms_forward(terms, each, sum); },
        [&] { cuda::terms_forward(*context, terms, each, sum); });
  });
}

duet_status duet_terms_backward(duet_context* context, const duet_terms_inputs* inputs, duet_vector grad_total,
                                const duet_vector* grad_values) {
  return guard("terms_backward", [&] {
    const TermsInputs terms = check(inputs);
    const auto upstream = vector<const float>(grad_total, "grad_total", 1);
    check_gradients(terms, grad_values, grad_total);
    dispatch(
        context, [&] { cpu::terms_backward(terms, upstream, grad_values); },
        [&] { cuda::terms_backward(*context, terms, upstream, grad_values); });
  });
}
