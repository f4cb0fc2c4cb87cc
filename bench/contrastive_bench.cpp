#include "bench/agreement.h"
#include "bench/bench.h"

namespace duet::bench {
namespace {

constexpr double kScale = 10, kBias = -5;

struct Side {
  Floats rows, classes, trust, loss, statistics, weight, grad;

  Side(Draw& draw, int64_t count, int64_t d, int64_t class_count)
      : rows(draw.unit_rows(count, d)),
        classes(draw.distributions(count, class_count)),
        trust(draw.coins(count, 1, 0)),
        loss(count),
        statistics(count, DUET_CONTRASTIVE_STATISTICS),
        weight(draw.uniforms(count, 1, 0, 1)),
        grad(count, d) {}
};

struct Set {
  Side a, v;
  Floats grad_scale, grad_bias;
};

class Contrastive : public Rotating<Set> {
 public:
  Contrastive(const Setting& setting, duet_contrastive_kind kind)
      : context_(setting.context), kind_(kind), scale_(scalar(kScale)), bias_(scalar(kBias)) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          return Set{Side(draw, n, d, classes), Side(draw, m, d, classes), Floats(1), Floats(1)};
        },
        [&](const Set& s) { return read(s.a) + read(s.v) + bytes_of(s.a.grad, s.v.grad); });
    const duet_contrastive_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_contrastive_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    const double written = sigmoid() ? s.a.loss.bytes() : bytes_of(s.a.loss, s.v.loss, s.a.statistics, s.v.statistics);
    const double upstream =
        sigmoid() ? s.a.weight.bytes() : bytes_of(s.a.weight, s.v.weight, s.a.statistics, s.v.statistics);
    // A score is scaled, compared, exponentiated and added, by row and by column; the agreement is a product of rank C
    // with its sums.
    const double labels = with_classes() ? 2.0 * static_cast<double>(classes) + 6 : 0;
    forward_cost = {2 * pairs * d + (8 + labels) * pairs, read(s.a) + read(s.v) + written, 1};
    backward_cost = {6 * pairs * d + (8 + labels) * pairs,
                     read(s.a) + read(s.v) + upstream + 2 * bytes_of(s.a.grad, s.v.grad), 3};
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_contrastive_inputs in = inputs(s);
    succeed(duet_contrastive_forward(
        context_, &in,
        sized<duet_contrastive_outputs>({.row_loss = s.a.loss.vector(),
                                         .column_loss = sigmoid() ? duet_vector{} : s.v.loss.vector(),
                                         .row_statistics = statistics(s.a),
                                         .column_statistics = statistics(s.v)}),
        scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_contrastive_inputs in = inputs(s);
    succeed(duet_contrastive_backward(
        context_, &in,
        sized<duet_contrastive_gradients>({.row_statistics = statistics(s.a),
                                           .column_statistics = statistics(s.v),
                                           .row_weight = s.a.weight.vector(),
                                           .column_weight = sigmoid() ? duet_vector{} : s.v.weight.vector(),
                                           .grad_a = s.a.grad.matrix(),
                                           .grad_v = s.v.grad.matrix(),
                                           .grad_scale = s.grad_scale.vector(),
                                           .grad_bias = sigmoid() ? s.grad_bias.vector() : duet_vector{}}),
        scratch_.view()));
  }

  void verify_forward() override {
    verify_side("row_loss", set(0).a, set(0).v);
    if (!sigmoid()) verify_side("column_loss", set(0).v, set(0).a);
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.a.rows.columns();
    for (const int64_t i : spots(s.a.rows.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < s.v.rows.rows(); ++j) {
        const double score = kScale * dot(s.a.rows.row(i), s.v.rows.row(j), d);
        const double g = sigmoid() ? s.a.weight[i] * (1 / (1 + std::exp(-score - kBias)) - (i == j ? 1.0 : 0.0))
                                   : pull(s.a, i, s.v, j, score) + pull(s.v, j, s.a, i, score);
        add_distance_gradient(DUET_METRIC_INNER, s.a.rows.row(i), s.v.rows.row(j), d, kScale * g, expected);
      }
      expect_row("grad_a", i, s.a.grad.row(i), expected);
    }
    expect_balanced(s.a.rows, s.a.grad, s.v.rows, s.v.grad);
    expect_close("grad_scale", 0, s.grad_scale[0], dot(s.a.rows, s.a.grad) / kScale,
                 absolute_dot(s.a.rows, s.a.grad) / kScale);
  }

 private:
  bool sigmoid() const { return kind_ == DUET_CONTRASTIVE_KIND_SIGMOID; }
  bool with_classes() const { return kind_ == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE; }
  duet_matrix statistics(const Side& side) const { return sigmoid() ? duet_matrix{} : side.statistics.matrix(); }
  double read(const Side& side) const {
    return side.rows.bytes() + (with_classes() ? bytes_of(side.classes, side.trust) : 0);
  }

  duet_contrastive_inputs inputs(const Set& s) const {
    duet_contrastive_inputs in = DUET_CONTRASTIVE_INPUTS_INIT;
    in.kind = kind_, in.a = s.a.rows.matrix(), in.v = s.v.rows.matrix(), in.scale = scale_.vector();
    if (sigmoid()) in.bias = bias_.vector();
    if (with_classes()) {
      in.class_a = s.a.classes.matrix(), in.class_v = s.v.classes.matrix();
      in.trust_a = s.a.trust.vector(), in.trust_v = s.v.trust.vector(), in.paired = 1;
    }
    return in;
  }

  // What the cross-entropy is taken against: the identity, or the agreement; not yet divided by its sum.
  Doubles targets(const Side& own, int64_t i, const Side& other) const {
    if (with_classes()) return positive_weights(own.classes, i, other.classes, other.trust);
    Doubles out(static_cast<size_t>(other.rows.rows()));
    if (i < other.rows.rows()) out[static_cast<size_t>(i)] = 1;
    return out;
  }

  void verify_side(const char* name, const Side& own, const Side& other) const {
    for (const int64_t i : spots(own.rows.rows())) {
      const Doubles row = scores(kScale, own.rows.row(i), other.rows), target = targets(own, i, other);
      const double lse = log_sum_exp(row), total = sum(target);
      double expected = 0;
      for (size_t j = 0; j < row.size(); ++j) {
        const double x = row[j] + kBias;
        if (sigmoid())
          expected += target[j] * std::log1p(std::exp(-x)) + (1 - target[j]) * std::log1p(std::exp(x));
        else if (total > 0)
          expected += target[j] / total * (lse - row[j]);
      }
      expect_close(name, i, own.loss[i], expected);
      if (sigmoid()) continue;
      expect_close("lse", i, own.statistics.row(i)[0], lse);
      expect_close("N", i, own.statistics.row(i)[1], total);
    }
  }

  // What the direction with anchor i in own says of the score of (i, j), from its statistics.
  double pull(const Side& own, int64_t i, const Side& other, int64_t j, double score) const {
    const float* statistics = own.statistics.row(i);
    if (!(statistics[1] > 0)) return 0;
    const double target = with_classes() ? positive_weight(own.classes.row(i), other.classes.row(j),
                                                           own.classes.columns(), other.trust[j], i == j)
                                         : (i == j ? 1.0 : 0.0);
    return own.weight[i] * (std::exp(score - statistics[0]) - target / statistics[1]);
  }

  duet_context* context_;
  duet_contrastive_kind kind_;
  Floats scale_, bias_;
  Scratch scratch_;
};

Registration variant(const char* name, duet_contrastive_kind kind) {
  return {"contrastive", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Contrastive>(setting, kind); }};
}
const Registration kVariants[] = {variant("infonce", DUET_CONTRASTIVE_KIND_INFONCE),
                                  variant("multi_positive", DUET_CONTRASTIVE_KIND_MULTI_POSITIVE),
                                  variant("sigmoid", DUET_CONTRASTIVE_KIND_SIGMOID)};

}  // namespace
}  // namespace duet::bench
