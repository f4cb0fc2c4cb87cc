#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

struct Set {
  Floats logits, targets, row_loss, row_weight, grad_logits;
};

// n samples of C classes.
class CrossEntropy : public Rotating<Set> {
 public:
  explicit CrossEntropy(const Setting& setting) : context_(setting.context) {
    const int64_t n = setting.shape.n, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.normals(n, classes, 3), draw.distributions(n, classes), Floats(n), draw.uniforms(n, 1, 0, 1),
                     Floats(n, classes)};
        },
        [](const Set& s) { return bytes_of(s.logits, s.targets, s.grad_logits); });
    const Set& s = set(0);
    const double elements = static_cast<double>(n) * classes;
    forward_cost = {5 * elements, bytes_of(s.logits, s.targets, s.row_loss), 0};
    backward_cost = {7 * elements, bytes_of(s.logits, s.targets, s.row_weight) + 2 * s.grad_logits.bytes(), 0};
  }

  void forward(int k) override {
    Set& s = set(k);
    succeed(duet_cross_entropy_forward(
        context_, sized<duet_cross_entropy_inputs>({.logits = s.logits.matrix(), .targets = s.targets.matrix()}),
        sized<duet_cross_entropy_outputs>({.row_loss = s.row_loss.vector()})));
  }

  void backward(int k) override {
    Set& s = set(k);
    succeed(duet_cross_entropy_backward(
        context_, sized<duet_cross_entropy_inputs>({.logits = s.logits.matrix(), .targets = s.targets.matrix()}),
        sized<duet_cross_entropy_gradients>(
            {.row_weight = s.row_weight.vector(), .grad_logits = s.grad_logits.matrix()})));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.logits.rows())) {
      const double lse = row_log_sum_exp(i);
      double expected = 0;
      for (int64_t c = 0; c < s.logits.columns(); ++c) expected -= s.targets.row(i)[c] * (s.logits.row(i)[c] - lse);
      expect_close("row_loss", i, s.row_loss[i], expected, std::abs(lse));
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.logits.rows())) {
      const double lse = row_log_sum_exp(i);
      double mass = 0;
      for (int64_t c = 0; c < s.logits.columns(); ++c) mass += s.targets.row(i)[c];
      Doubles expected;
      for (int64_t c = 0; c < s.logits.columns(); ++c)
        expected.push_back(s.row_weight[i] * (std::exp(s.logits.row(i)[c] - lse) * mass - s.targets.row(i)[c]));
      expect_row("grad_logits", i, s.grad_logits.row(i), expected);
    }
  }

 private:
  double row_log_sum_exp(int64_t i) {
    const Floats& logits = set(0).logits;
    return log_sum_exp(Doubles(logits.row(i), logits.row(i) + logits.columns()));
  }

  duet_context* context_;
};

const Registration kVariant("cross_entropy", "distribution", Passes::forward_and_backward,
                            [](const Setting& setting) { return std::make_unique<CrossEntropy>(setting); });

}  // namespace
}  // namespace duet::bench
