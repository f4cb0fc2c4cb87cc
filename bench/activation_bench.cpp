#include "bench/bench.h"
#include "bench/verify.h"
#include "kernels/core/philox.h"

namespace duet::bench {
namespace {

enum class Kind { relu, tanh, gelu, dropout };

constexpr float kDropProbability = 0.2f;  // METHOD.md 6.1
constexpr uint64_t kSeed = 7;
constexpr int64_t kStep = 1;

struct Set {
  Floats x, outputs, grad_outputs, grad_x;
};

// n x d.
class Activation : public Rotating<Set> {
 public:
  Activation(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind), step_(whole_scalar(kStep)) {
    const int64_t n = setting.shape.n, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.normals(n, d), Floats(n, d), draw.uniforms(n, d, -1, 1), Floats(n, d)};
        },
        [](const Set& s) { return bytes_of(s.x, s.outputs, s.grad_outputs, s.grad_x); });
    const Set& s = set(0);
    const double elements = static_cast<double>(n) * d;
    // Dropout: a Philox block is about 70 integer operations for four elements.
    const double operations = kind == Kind::relu ? 1 : kind == Kind::tanh ? 1 : kind == Kind::gelu ? 4 : 20;
    forward_cost = {operations * elements, bytes_of(s.x, s.outputs), 0};
    backward_cost = {(operations + 3) * elements,
                     s.grad_outputs.bytes() + (kind == Kind::dropout ? 0 : s.x.bytes()) + 2 * s.grad_x.bytes(), 0};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_activation_inputs in = inputs(s);
    const duet_dropout_options drop = options();
    if (kind_ == Kind::dropout)
      succeed(duet_dropout_forward(context_, sized<duet_dropout_inputs>({.x = s.x.matrix(), .dropout = &drop}),
                                   sized<duet_dropout_outputs>({.outputs = s.outputs.matrix()})));
    else
      succeed(duet_activation_forward(context_, &in, sized<duet_activation_outputs>({.outputs = s.outputs.matrix()})));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_activation_inputs in = inputs(s);
    const duet_dropout_options drop = options();
    if (kind_ == Kind::dropout)
      succeed(duet_dropout_backward(
          context_, sized<duet_dropout_inputs>({.dropout = &drop}),
          sized<duet_dropout_gradients>({.grad_outputs = s.grad_outputs.matrix(), .grad_x = s.grad_x.matrix()})));
    else
      succeed(duet_activation_backward(
          context_, &in,
          sized<duet_activation_gradients>({.grad_outputs = s.grad_outputs.matrix(), .grad_x = s.grad_x.matrix()})));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.x.rows()))
      for (int64_t k = 0; k < s.x.columns(); ++k)
        expect_close("outputs", i, s.outputs.row(i)[k], value(s.x.row(i)[k], i, k));
  }

  void verify_backward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.x.rows()))
      for (int64_t k = 0; k < s.x.columns(); ++k)
        expect_close("grad_x", i, s.grad_x.row(i)[k], derivative(s.x.row(i)[k], i, k) * s.grad_outputs.row(i)[k]);
  }

 private:
  duet_activation_inputs inputs(const Set& s) const {
    duet_activation_inputs in = DUET_ACTIVATION_INPUTS_INIT;
    in.kind = kind_ == Kind::tanh   ? DUET_ACTIVATION_KIND_TANH
              : kind_ == Kind::gelu ? DUET_ACTIVATION_KIND_GELU
                                    : DUET_ACTIVATION_KIND_RELU;
    in.x = s.x.matrix();
    return in;
  }

  duet_dropout_options options() const {
    duet_dropout_options out = DUET_DROPOUT_OPTIONS_INIT;
    out.drop_probability = kDropProbability, out.seed = kSeed, out.step = step_.vector();
    return out;
  }

  double keep(int64_t i, int64_t k) {
    const uint32_t word = random_word(kSeed, kStreamDropout, kStep, static_cast<uint64_t>(i * set(0).x.columns() + k));
    return word < coin_threshold(kDropProbability) ? 0 : 1 / (1 - double{kDropProbability});
  }
  static double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

  double value(double x, int64_t i, int64_t k) {
    switch (kind_) {
      case Kind::relu: return std::max(x, 0.0);
      case Kind::tanh: return std::tanh(x);
      case Kind::gelu: return x * normal_below(x);
      default: return x * keep(i, k);
    }
  }
  double derivative(double x, int64_t i, int64_t k) {
    constexpr double kDensity = 0.3989422804014327;  // 1 / sqrt(2 pi)
    switch (kind_) {
      case Kind::relu: return x > 0;
      case Kind::tanh: return 1 - std::tanh(x) * std::tanh(x);
      case Kind::gelu: return normal_below(x) + x * kDensity * std::exp(-x * x / 2);
      default: return keep(i, k);
    }
  }

  duet_context* context_;
  Kind kind_;
  Longs step_;
};

Registration variant(const char* name, Kind kind) {
  return {"activation", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Activation>(setting, kind); }};
}
const Registration kVariants[] = {variant("relu", Kind::relu), variant("tanh", Kind::tanh), variant("gelu", Kind::gelu),
                                  variant("dropout", Kind::dropout)};

}  // namespace
}  // namespace duet::bench
