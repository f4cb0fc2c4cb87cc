#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

struct Set {
  Floats x, weight, bias, outputs, grad_outputs, grad_x, grad_weight, grad_bias;
};

// n samples of d features into m units.
class Linear : public Rotating<Set> {
 public:
  explicit Linear(const Setting& setting) : context_(setting.context) {
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
    forward_cost = {2 * pairs * d + pairs, bytes_of(s.x, s.weight, s.bias, s.outputs), 1};
    backward_cost = {4 * pairs * d + pairs, bytes_of(s.x, s.weight, s.grad_outputs) + 2 * bytes_of(s.grad_x, s.grad_weight, s.grad_bias), 2};
    product = {n, m, d};
  }

  void forward(int k) override {
    const duet_linear_inputs in = inputs(set(k));
    succeed(duet_linear_forward(context_, &in, set(k).outputs.matrix(), scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_linear_inputs in = inputs(s);
    succeed(duet_linear_backward(context_, &in, s.grad_outputs.matrix(), s.grad_x.matrix(), s.grad_weight.matrix(), s.grad_bias.vector(),
                                 scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected = scores(1, s.x.row(i), s.weight);
      for (int64_t j = 0; j < s.weight.rows(); ++j) expected[static_cast<size_t>(j)] += s.bias[j];
      expect_row("outputs", i, s.outputs.row(i), expected);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.x.columns();
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < s.weight.rows(); ++j)
        add_distance_gradient(DUET_INNER, s.x.row(i), s.weight.row(j), d, s.grad_outputs.row(i)[j], expected);
      expect_row("grad_x", i, s.grad_x.row(i), expected);
    }
    for (const int64_t j : spots(s.weight.rows())) {
      Doubles expected(static_cast<size_t>(d));
      double bias = 0, size = 0;
      for (int64_t i = 0; i < s.x.rows(); ++i) {
        const double g = s.grad_outputs.row(i)[j];
        add_distance_gradient(DUET_INNER, s.weight.row(j), s.x.row(i), d, g, expected);
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
    return in;
  }

  duet_context* context_;
  Scratch scratch_;
};

const Registration kVariant("linear", "bias", Passes::forward_and_backward, [](const Setting& setting) { return std::make_unique<Linear>(setting); });

}  // namespace
}  // namespace duet::bench
