#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

enum class Kind { log_sum_exp, probabilities };

constexpr double kScale = 10;  // tau 0.1, as METHOD.md 6.6 has it

struct Set {
  Floats a, v, lse_row, lse_column, grad_lse_row, grad_lse_column, probabilities, grad_probabilities, grad_a, grad_v,
      grad_scale;
};

class Alignment : public Rotating<Set> {
 public:
  Alignment(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind), scale_(scalar(kScale)) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d;
    const int64_t stored = stores() ? m : 0;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.unit_rows(n, d),
                     draw.unit_rows(m, d),
                     Floats(n),
                     Floats(m),
                     draw.uniforms(n, 1, -1, 1),
                     draw.uniforms(m, 1, -1, 1),
                     Floats(n, stored),
                     draw.uniforms(n, stored, -1, 1),
                     Floats(n, d),
                     Floats(m, d),
                     Floats(1)};
        },
        [](const Set& s) {
          return bytes_of(s.a, s.v, s.lse_row, s.lse_column, s.probabilities, s.grad_probabilities, s.grad_a, s.grad_v);
        });
    const duet_alignment_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_alignment_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);
    for (int k = 0; k < sets() && stores(); ++k)
      log_sum_exps(set(k));  // the probabilities are formed from their rows' sums

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    const double read = bytes_of(s.a, s.v), gradients = 2 * bytes_of(s.grad_a, s.grad_v, s.grad_scale);
    // A score is scaled, compared, exponentiated and added, by row and by column; its gradient is two exponentials
    // times their weights.
    if (stores()) {
      forward_cost = {2 * pairs * d + 5 * pairs, read + bytes_of(s.lse_row, s.probabilities), 1};
      backward_cost = {4 * pairs * d + 4 * pairs, read + bytes_of(s.probabilities, s.grad_probabilities) + gradients,
                       2};
    } else {
      forward_cost = {2 * pairs * d + 8 * pairs, read + bytes_of(s.lse_row, s.lse_column), 1};
      backward_cost = {6 * pairs * d + 8 * pairs, read + 2 * bytes_of(s.lse_row, s.lse_column) + gradients, 3};
    }
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    if (!stores()) return log_sum_exps(s);
    const duet_alignment_inputs in = inputs(s);
    succeed(
        duet_alignment_probabilities(context_, &in,
                                     sized<duet_alignment_probabilities_outputs>(
                                         {.lse_row = s.lse_row.vector(), .probabilities = s.probabilities.matrix()}),
                                     scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_alignment_inputs in = inputs(s);
    if (stores())
      succeed(duet_alignment_probabilities_backward(
          context_, &in,
          sized<duet_alignment_probabilities_gradients>({.probabilities = s.probabilities.matrix(),
                                                         .grad_probabilities = s.grad_probabilities.matrix(),
                                                         .grad_a = s.grad_a.matrix(),
                                                         .grad_v = s.grad_v.matrix(),
                                                         .grad_scale = s.grad_scale.vector()}),
          scratch_.view()));
    else
      succeed(duet_alignment_backward(context_, &in,
                                      sized<duet_alignment_gradients>({.lse_row = s.lse_row.vector(),
                                                                       .lse_column = s.lse_column.vector(),
                                                                       .grad_lse_row = s.grad_lse_row.vector(),
                                                                       .grad_lse_column = s.grad_lse_column.vector(),
                                                                       .grad_a = s.grad_a.matrix(),
                                                                       .grad_v = s.grad_v.matrix(),
                                                                       .grad_scale = s.grad_scale.vector()}),
                                      scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    if (!stores()) {
      for (const int64_t j : spots(s.v.rows()))
        expect_close("lse_column", j, s.lse_column[j], log_sum_exp(scores(kScale, s.v.row(j), s.a)));
    }
    for (const int64_t i : spots(s.a.rows())) {
      Doubles row = scores(kScale, s.a.row(i), s.v);
      const double lse = log_sum_exp(row);
      expect_close("lse_row", i, s.lse_row[i], lse);
      if (!stores()) continue;
      for (double& score : row) score = std::exp(score - lse);
      expect_row("probabilities", i, s.probabilities.row(i), row);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.a.columns(), m = s.v.rows();
    for (const int64_t i : spots(s.a.rows())) {
      const Doubles row = scores(kScale, s.a.row(i), s.v);
      double mean = 0;  // of the upstream gradient under P
      for (int64_t j = 0; j < m && stores(); ++j)
        mean += double{s.probabilities.row(i)[j]} * s.grad_probabilities.row(i)[j];
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < m; ++j) {
        const double score = row[static_cast<size_t>(j)], p = std::exp(score - s.lse_row[i]);
        const double g = stores() ? p * (s.grad_probabilities.row(i)[j] - mean)
                                  : p * s.grad_lse_row[i] + std::exp(score - s.lse_column[j]) * s.grad_lse_column[j];
        add_distance_gradient(DUET_METRIC_INNER, s.a.row(i), s.v.row(j), d, kScale * g, expected);
      }
      expect_row("grad_a", i, s.grad_a.row(i), expected);
    }
    expect_balanced(s.a, s.grad_a, s.v, s.grad_v);
    expect_close("grad_scale", 0, s.grad_scale[0], dot(s.a, s.grad_a) / kScale, absolute_dot(s.a, s.grad_a) / kScale);
  }

 private:
  bool stores() const { return kind_ == Kind::probabilities; }

  void log_sum_exps(Set& s) {
    const duet_alignment_inputs in = inputs(s);
    succeed(duet_alignment_forward(
        context_, &in,
        sized<duet_alignment_outputs>({.lse_row = s.lse_row.vector(), .lse_column = s.lse_column.vector()}),
        scratch_.view()));
  }

  duet_alignment_inputs inputs(const Set& s) const {
    duet_alignment_inputs in = DUET_ALIGNMENT_INPUTS_INIT;
    in.a = s.a.matrix(), in.v = s.v.matrix(), in.scale = scale_.vector();
    return in;
  }

  duet_context* context_;
  Kind kind_;
  Floats scale_;
  Scratch scratch_;
};

Registration variant(const char* name, Kind kind) {
  return {"alignment", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Alignment>(setting, kind); }};
}
const Registration kVariants[] = {variant("log_sum_exp", Kind::log_sum_exp),
                                  variant("probabilities", Kind::probabilities)};

}  // namespace
}  // namespace duet::bench
