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

// Every element of an array of views: one float each. Adds those that are given to a span, where the caller asks for
// one.
template <class View, class... Spans>
void check_scalars(const View* given, const char* name, int64_t count, Need need, Spans&... span) {
  require(count >= 0, "inputs.count: expected 0 or more, got ", count);
  require(given != nullptr || count == 0, name, ": null for ", count, " vectors");
  for (int64_t k = 0; k < count; ++k) {
    // The name is put together only for a view that is refused.
    if (enum_value(given[k].dtype) != DUET_DTYPE_F32 || given[k].size != 1 || given[k].data == nullptr ||
        given[k].reserved != 0)
      if (!vector<const float>(given[k], text(name, "[", k, "]").c_str(), 1, need)) continue;
    (span.add(given[k].data), ...);
  }
}

// Whether a float of theirs has a byte of this one.
template <class View>
bool shared_by_any(const float* one, const View* given, int64_t count) {
  const auto last = reinterpret_cast<uintptr_t>(one) + sizeof(float) - 1;
  bool shared = false;
  for (int64_t k = 0; k < count; ++k)
    shared |= last - reinterpret_cast<uintptr_t>(given[k].data) < 2 * sizeof(float) - 1;
  return shared;
}

// An array of checked scalars, or a single one (count -1).
template <class View>
struct Scalars {
  const View* given;
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

// Each of those written against each of those read: for spans that meet, as they do where scalars of both kinds lie
// side by side.
template <class Written, class Read>
[[gnu::noinline]] void require_apart(const Scalars<Written>& written, const Scalars<Read>& read) {
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
void check_floats(const duet_const_vector& view, int64_t size, Need need, const Name&... name) {
  const bool absent = need == Need::optional && view.data == nullptr && view.size == 0;
  const bool good = enum_value(view.dtype) == DUET_DTYPE_F32 && view.size >= 0 && view.size <= kMostElements &&
                    (size == kAny || view.size == size) && (view.data != nullptr || view.size == 0) &&
                    view.reserved == 0;
  if (!absent && !good) vector<const float>(view, text(name...).c_str(), size, need);
}

bool share_floats(const duet_const_vector& a, const duet_const_vector& b) {
  const auto first = [](const duet_const_vector& view) { return reinterpret_cast<uintptr_t>(view.data); };
  const auto end = [&](const duet_const_vector& view) {
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
  check_element_size<duet_term>(raw.term_size, "inputs.term_size");
  check_element_size<duet_mean>(raw.mean_size, "inputs.mean_size");
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
void require_apart_from(const TermsInputs& inputs, const duet_const_vector& written, const Name&... name) {
  for_each_vector(inputs, [&](const duet_const_vector& read, int64_t, Need, const auto&... of_read) {
    if (share_floats(written, read)) require(false, name..., ": shares memory with ", of_read...);
  });
}

void check_gradients(const TermsInputs& inputs, const duet_vector* grads, const duet_const_vector& grad_total) {
  require(grads != nullptr || inputs.mean_count == 0, "gradients.grad_values: null for ", inputs.mean_count,
          " vectors");
  for (int64_t m = 0; m < inputs.mean_count; ++m) {
    const duet_vector& grad = grads[m];
    check_floats(grad, inputs.means[m].values.size, Need::optional, "gradients.grad_values[", m, "]");
    if (grad.size == 0) continue;
    require_apart_from(inputs, grad, "gradients.grad_values[", m, "]");
    if (share_floats(grad, grad_total))
      require(false, "gradients.grad_values[", m, "]: shares memory with gradients.grad_total");
    for (int64_t other = 0; other < m; ++other)
      if (share_floats(grad, grads[other]) && !(grad.data == grads[other].data && grad.size == grads[other].size))
        require(false, "gradients.grad_values[", m, "]: shares a part of its memory with gradients.grad_values[", other,
                "]");
  }
}

}  // namespace
}  // namespace duet

using namespace duet;

duet_status duet_weighted_mean_forward(duet_context* context, const duet_weighted_mean_inputs* inputs,
                                       const duet_weighted_mean_outputs* outputs) {
  return guard("weighted_mean_forward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const auto from = arguments.vector<const float>(given.values, "inputs.values", kAny);
    const auto weight = arguments.vector<const float>(given.weights, "inputs.weights", from.size, Need::optional);
    const auto over = arguments.vector<const float>(given.divisor, "inputs.divisor", 1, Need::optional);
    const auto to = arguments.vector<float>(raw.loss, "outputs.loss", 1);
    arguments.check();
    dispatch(
        context, [&] { cpu::weighted_mean_forward(from, weight, over, to); },
        [&] { cuda::weighted_mean_forward(*context, from, weight, over, to); });
  });
}

duet_status duet_weighted_mean_backward(duet_context* context, const duet_weighted_mean_inputs* inputs,
                                        const duet_weighted_mean_gradients* gradients) {
  return guard("weighted_mean_backward", [&] {
    Arguments arguments;
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    const auto to = arguments.vector<float>(raw.grad_values, "gradients.grad_values", kAny);
    const auto weight = arguments.vector<const float>(given.weights, "inputs.weights", to.size, Need::optional);
    const auto over = arguments.vector<const float>(given.divisor, "inputs.divisor", 1, Need::optional);
    const auto upstream = arguments.vector<const float>(raw.grad_loss, "gradients.grad_loss", 1);
    arguments.check();
    dispatch(
        context, [&] { cpu::weighted_mean_backward(weight, over, upstream, to); },
        [&] { cuda::weighted_mean_backward(*context, weight, over, upstream, to); });
  });
}

duet_status duet_weighted_sum_forward(duet_context* context, const duet_weighted_sum_inputs* inputs,
                                      const duet_weighted_sum_outputs* outputs) {
  return guard("weighted_sum_forward", [&] {
    const auto given = load(inputs, "inputs");
    const auto raw = load(outputs, "outputs");
    const int64_t count = given.count;
    check_scalars(given.terms, "inputs.terms", count, Need::required);
    check_scalars(given.weights, "inputs.weights", count, Need::required);
    const auto to = vector<float>(raw.total, "outputs.total", 1);
    const Scalars<duet_vector> total{&raw.total, "outputs.total"};
    if (shared_by_any(to.data, given.terms, count))
      require_apart(total, Scalars<duet_const_vector>{given.terms, "inputs.terms", count});
    if (shared_by_any(to.data, given.weights, count))
      require_apart(total, Scalars<duet_const_vector>{given.weights, "inputs.weights", count});
    dispatch(
        context, [&] { cpu::weighted_sum_forward(given.terms, given.weights, count, to); },
        [&] { cuda::weighted_sum_forward(*context, given.terms, given.weights, count, to); });
  });
}

duet_status duet_weighted_sum_backward(duet_context* context, const duet_weighted_sum_inputs* inputs,
                                       const duet_weighted_sum_gradients* gradients) {
  return guard("weighted_sum_backward", [&] {
    const auto given = load(inputs, "inputs");
    const auto raw = load(gradients, "gradients");
    const int64_t count = given.count;
    Span read, written;
    check_scalars(given.weights, "inputs.weights", count, Need::required, read);
    check_scalars(raw.grad_terms, "gradients.grad_terms", count, Need::optional, written);
    const auto upstream = vector<const float>(raw.grad_total, "gradients.grad_total", 1);
    const Scalars<duet_vector> to{raw.grad_terms, "gradients.grad_terms", count};
    if (written.meets(read)) require_apart(to, Scalars<duet_const_vector>{given.weights, "inputs.weights", count});
    if (shared_by_any(upstream.data, raw.grad_terms, count))
      require_apart(to, Scalars<duet_const_vector>{&raw.grad_total, "gradients.grad_total"});
    dispatch(
        context, [&] { cpu::weighted_sum_backward(given.weights, count, upstream, raw.grad_terms); },
        [&] { cuda::weighted_sum_backward(*context, given.weights, count, upstream, raw.grad_terms); });
  });
}

duet_status duet_terms_forward(duet_context* context, const duet_terms_inputs* inputs,
                               const duet_terms_outputs* outputs) {
  return guard("terms_forward", [&] {
    const TermsInputs terms = check(inputs);
    Arguments arguments;
    const auto raw = load(outputs, "outputs");
    const auto each = arguments.vector<float>(raw.losses, "outputs.losses", terms.term_count, Need::optional);
    const auto sum = arguments.vector<float>(raw.total, "outputs.total", 1);
    arguments.check();
    require_apart_from(terms, raw.losses, "outputs.losses");
    require_apart_from(terms, raw.total, "outputs.total");
    dispatch(
        context, [&] { cpu::terms_forward(terms, each, sum); },
        [&] { cuda::terms_forward(*context, terms, each, sum); });
  });
}

duet_status duet_terms_backward(duet_context* context, const duet_terms_inputs* inputs,
                                const duet_terms_gradients* gradients) {
  return guard("terms_backward", [&] {
    const TermsInputs terms = check(inputs);
    const auto raw = load(gradients, "gradients");
    const auto upstream = vector<const float>(raw.grad_total, "gradients.grad_total", 1);
    check_gradients(terms, raw.grad_values, raw.grad_total);
    dispatch(
        context, [&] { cpu::terms_backward(terms, upstream, raw.grad_values); },
        [&] { cuda::terms_backward(*context, terms, upstream, raw.grad_values); });
  });
}
