#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

enum class Kind { weighted_mean, weighted_sum };

constexpr int64_t kTerms = 8;  // METHOD.md 6.11 adds up to seven

struct Set {
  Floats values, weights, divisor, total, grad_total, grad_values;
};

// The mean of n values, or the sum of a few scalars.
class Reduction : public Rotating<Set> {
 public:
  Reduction(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind) {
    const int64_t size = kind == Kind::weighted_mean ? setting.shape.n : kTerms;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.uniforms(size, 1, 0, 1),
                     draw.uniforms(size, 1, 0, 1),
                     scalar(static_cast<double>(size)),
                     Floats(1),
                     scalar(0.5),
                     Floats(size)};
        },
        [](const Set& s) { return bytes_of(s.values, s.weights, s.grad_values); });
    const Set& s = set(0);
    const double elements = static_cast<double>(size), divisor = kind == Kind::weighted_mean ? s.divisor.bytes() : 0;
    forward_cost = {2 * elements, bytes_of(s.values, s.weights, s.total) + divisor, 0};
    backward_cost = {2 * elements, bytes_of(s.weights, s.grad_total) + divisor + 2 * s.grad_values.bytes(), 0};
  }

  void forward(int k) override {
    Set& s = set(k);
    if (kind_ == Kind::weighted_mean)
      return succeed(duet_weighted_mean_forward(
          context_,
          sized<duet_weighted_mean_inputs>(
              {.values = s.values.vector(), .weights = s.weights.vector(), .divisor = s.divisor.vector()}),
          sized<duet_weighted_mean_outputs>({.loss = s.total.vector()})));
    const auto terms = scalars(s.values), weights = scalars(s.weights);
    succeed(duet_weighted_sum_forward(
        context_, sized<duet_weighted_sum_inputs>({.terms = terms.data(), .weights = weights.data(), .count = kTerms}),
        sized<duet_weighted_sum_outputs>({.total = s.total.vector()})));
  }

  void backward(int k) override {
    Set& s = set(k);
    if (kind_ == Kind::weighted_mean)
      return succeed(duet_weighted_mean_backward(
          context_, sized<duet_weighted_mean_inputs>({.weights = s.weights.vector(), .divisor = s.divisor.vector()}),
          sized<duet_weighted_mean_gradients>(
              {.grad_loss = s.grad_total.vector(), .grad_values = s.grad_values.vector()})));
    const auto weights = scalars(s.weights);
    const auto gradients = scalars<duet_vector>(s.grad_values);
    succeed(duet_weighted_sum_backward(
        context_, sized<duet_weighted_sum_inputs>({.weights = weights.data(), .count = kTerms}),
        sized<duet_weighted_sum_gradients>({.grad_total = s.grad_total.vector(), .grad_terms = gradients.data()})));
  }

  void verify_forward() override {
    expect_close("total", 0, set(0).total[0], dot(set(0).values, set(0).weights) / divisor());
  }

  void verify_backward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.values.size()))
      expect_close("gradient", i, s.grad_values[i] * divisor(), double{s.grad_total[0]} * s.weights[i]);
  }

 private:
  template <class View = duet_const_vector>
  static std::vector<View> scalars(const Floats& values) {
    std::vector<View> out;
    auto* const first = static_cast<float*>(values.vector().data);
    for (int64_t k = 0; k < values.size(); ++k) out.push_back(duet_f32_vector(first + k, 1));
    return out;
  }
  double divisor() { return kind_ == Kind::weighted_mean ? set(0).divisor[0] : 1; }

  duet_context* context_;
  Kind kind_;
};

Registration variant(const char* name, Kind kind) {
  return {"reduction", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Reduction>(setting, kind); }};
}
const Registration kVariants[] = {variant("weighted_mean", Kind::weighted_mean),
                                  variant("weighted_sum", Kind::weighted_sum)};

}  // namespace
}  // namespace duet::bench
