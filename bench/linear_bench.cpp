#include "bench/bench.h"
#include "bench/verify.h"
#include "kernels/core/philox.h"

namespace duet::bench {
namespace {

enum class Epilogue { bias, relu_dropout };

constexpr float kDropProbability = 0.2f;  // METHOD.md 6.1
constexpr uint64_t kSeed = 7;
constexpr int64_t kStep = 1;

struct Set {
  Floats x, weight, bias, outputs, grad_outputs, grad_x, grad_weight, grad_bias;
};

// n samples of d features into m units.
class Linear : public Rotating<Set> {
 public:
  Linear(const Setting& setting, Epilogue epilogue)
      : context_(setting.context), epilogue_(epilogue), step_(whole_scalar(kStep)) {
    dropout_.drop_probability = kDropProbability, dropout_.seed = kSeed, dropout_.step = step_.vector();
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.normals(n, d),
                     draw.uniforms(m, d, -0.1, 0.1),
                     draw.uniforms(m, 1, -0.1, 0.1),
                     Floats(n, m),
                     draw.uniforms(n, m, -1, 1),
                     Floats(n, d),
                     Floats(m, d),
                     Floats(m)};
        },
        [](const Set& s) { return bytes_of(s.x, s.weight, s.outputs, s.grad_outputs, s.grad_x, s.grad_weight); });
    const duet_linear_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_linear_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    const bool drops = epilogue == Epilogue::relu_dropout;
    // Dropout: a Philox block is about 70 integer operations for four elements.
    forward_cost = {2 * pairs * d + (drops ? 21 : 1) * pairs, bytes_of(s.x, s.weight, s.bias, s.outputs), 1};
    backward_cost = {4 * pairs * d + (drops ? 2 : 1) * pairs,
                     bytes_of(s.x, s.weight, s.grad_outputs) + (drops ? s.outputs.bytes() : 0) +
                         2 * bytes_of(s.grad_x, s.grad_weight, s.grad_bias),
                     2};
    product = {n, m, d};
  }

  void forward(int k) override {
    const duet_linear_inputs in = inputs(set(k));
    succeed(duet_linear_forward(context_, &in, sized<duet_linear_outputs>({.outputs = set(k).outputs.matrix()}),
                                scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_linear_inputs in = inputs(s);
    succeed(duet_linear_backward(context_, &in,
                                 sized<duet_linear_gradients>({.outputs = s.outputs.matrix(),
                                                               .grad_outputs = s.grad_outputs.matrix(),
                                                               .grad_x = s.grad_x.matrix(),
                                                               .grad_weight = s.grad_weight.matrix(),
                                                               .grad_bias = s.grad_bias.vector()}),
                                 scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected = scores(1, s.x.row(i), s.weight);
      for (int64_t j = 0; j < s.weight.rows(); ++j) {
        double& value = expected[static_cast<size_t>(j)];
        value += s.bias[j];
        if (epilogue_ == Epilogue::relu_dropout) value = std::max(value, 0.0) * keep(i, j);
      }
      expect_row("outputs", i, s.outputs.row(i), expected);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.x.columns();
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < s.weight.rows(); ++j)
        add_distance_gradient(DUET_METRIC_INNER, s.x.row(i), s.weight.row(j), d, gated(i, j), expected);
      expect_row("grad_x", i, s.grad_x.row(i), expected);
    }
    for (const int64_t j : spots(s.weight.rows())) {
      Doubles expected(static_cast<size_t>(d));
      double bias = 0, size = 0;
      for (int64_t i = 0; i < s.x.rows(); ++i) {
        const double g = gated(i, j);
        add_distance_gradient(DUET_METRIC_INNER, s.weight.row(j), s.x.row(i), d, g, expected);
        bias += g, size += std::abs(g);
      }
      expect_row("grad_weight", j, s.grad_weight.row(j), expected);
      expect_close("grad_bias", j, s.grad_bias[j], bias, size);
    }
  }

 private:
  duet_linear_inputs inputs(const Set& s) const {
    duet_linear_inputs in = DUET_LINEAR_INPUTS_INIT;
    in.x = s.x.matrix(), in.weight = s.weight.matrix(), in.bias = s.bias.vector();
    if (epilogue_ == Epilogue::bias) return in;
    in.relu = 1;
    in.dropout = &dropout_;
    return in;
  }

  double keep(int64_t i, int64_t j) {
    const uint32_t word =
        random_word(kSeed, kStreamDropout, kStep, static_cast<uint64_t>(i * set(0).weight.rows() + j));
    return word < coin_threshold(kDropProbability) ? 0 : 1 / (1 - double{kDropProbability});
  }
  // The gradient before ReLU and dropout; which side of 0 an element is on, the forward pass says.
  double gated(int64_t i, int64_t j) {
    const double g = set(0).grad_outputs.row(i)[j];
    return epilogue_ == Epilogue::bias ? g : set(0).outputs.row(i)[j] > 0 ? g * keep(i, j) : 0;
  }

  duet_context* context_;
  Epilogue epilogue_;
  Longs step_;
  duet_dropout_options dropout_ = DUET_DROPOUT_OPTIONS_INIT;
  Scratch scratch_;
};

Registration variant(const char* name, Epilogue epilogue) {
  return {"linear", name, Passes::forward_and_backward,
          [epilogue](const Setting& setting) { return std::make_unique<Linear>(setting, epilogue); }};
}
const Registration kVariants[] = {variant("bias", Epilogue::bias), variant("relu_dropout", Epilogue::relu_dropout)};

}  // namespace
}  // namespace duet::bench
