#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

constexpr double kScale = 10, kMargin = 0.25;

struct Side {
  Floats rows;
  Ints labels;
  Floats loss, statistics, weight, grad;

  Side(Draw& draw, int64_t count, int64_t d, int64_t classes)
      : rows(draw.unit_rows(count, d)),
        labels(draw.labels(count, classes)),
        loss(count),
        statistics(count, DUET_CONTRASTIVE_STATISTICS),
        weight(draw.uniforms(count, 1, 0, 1)),
        grad(count, d) {}
};

struct Set {
  Side a, v;
  Floats grad_scale;
};

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The losses on a relation of pairs: own pairs alone for decoupled, beside them groups for infonce and labels for the
// others.
class Relation : public Rotating<Set> {
 public:
  Relation(const Setting& setting, duet_contrastive_kind kind)
      : context_(setting.context), kind_(kind), scale_(scalar(kScale)) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          return Set{Side(draw, n, d, classes), Side(draw, m, d, classes), Floats(1)};
        },
        [&](const Set& s) { return read(s.a) + read(s.v) + bytes_of(s.a.grad, s.v.grad); });
    const duet_contrastive_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_contrastive_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    const double told = bytes_of(s.a.loss, s.v.loss, s.a.statistics, s.v.statistics);
    // Of a pair about 10 operations a sweep, by row and by column; ntxent sweeps twice forward.
    const double sweeps = kind == DUET_CONTRASTIVE_KIND_NTXENT ? 2 : 1;
    forward_cost = {sweeps * (2 * pairs * d + 10 * pairs), read(s.a) + read(s.v) + told, 1};
    backward_cost = {6 * pairs * d + 20 * pairs, read(s.a) + read(s.v) + told + 2 * bytes_of(s.a.grad, s.v.grad), 3};
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_contrastive_inputs in = inputs(s);
    succeed(duet_contrastive_forward(context_, &in,
                                     sized<duet_contrastive_outputs>({.row_loss = s.a.loss.vector(),
                                                                      .column_loss = s.v.loss.vector(),
                                                                      .row_statistics = s.a.statistics.matrix(),
                                                                      .column_statistics = s.v.statistics.matrix()}),
                                     scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_contrastive_inputs in = inputs(s);
    succeed(duet_contrastive_backward(context_, &in,
                                      sized<duet_contrastive_gradients>({.row_statistics = s.a.statistics.matrix(),
                                                                         .column_statistics = s.v.statistics.matrix(),
                                                                         .row_weight = s.a.weight.vector(),
                                                                         .column_weight = s.v.weight.vector(),
                                                                         .grad_a = s.a.grad.matrix(),
                                                                         .grad_v = s.v.grad.matrix(),
                                                                         .grad_scale = s.grad_scale.vector()}),
                                      scratch_.view()));
  }

  void verify_forward() override {
    verify_side("row_loss", set(0).a, set(0).v);
    verify_side("column_loss", set(0).v, set(0).a);
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.a.rows.columns();
    for (const int64_t i : spots(s.a.rows.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < s.v.rows.rows(); ++j) {
        const double c = dot(s.a.rows.row(i), s.v.rows.row(j), d);
        add_distance_gradient(DUET_METRIC_INNER, s.a.rows.row(i), s.v.rows.row(j), d,
                              slope(s.a, i, s.v, j, c) + slope(s.v, j, s.a, i, c), expected);
      }
      expect_row("grad_a", i, s.a.grad.row(i), expected);
    }
    expect_balanced(s.a.rows, s.a.grad, s.v.rows, s.v.grad);
    if (kind_ != DUET_CONTRASTIVE_KIND_CIRCLE)
      expect_close("grad_scale", 0, s.grad_scale[0], dot(s.a.rows, s.a.grad) / kScale,
                   absolute_dot(s.a.rows, s.a.grad) / kScale);
  }

 private:
  bool numbered() const { return kind_ != DUET_CONTRASTIVE_KIND_DECOUPLED; }
  double read(const Side& side) const { return side.rows.bytes() + (numbered() ? side.labels.bytes() : 0); }

  duet_contrastive_inputs inputs(const Set& s) const {
    duet_contrastive_inputs in = DUET_CONTRASTIVE_INPUTS_INIT;
    in.kind = kind_, in.a = s.a.rows.matrix(), in.v = s.v.rows.matrix(), in.scale = scale_.vector();
    if (kind_ == DUET_CONTRASTIVE_KIND_INFONCE)
      in.group_a = s.a.labels.vector(), in.group_v = s.v.labels.vector();
    else if (numbered())
      in.labels_a = s.a.labels.vector(), in.labels_v = s.v.labels.vector();
    return in;
  }

  bool positive(const Side& own, int64_t i, const Side& other, int64_t j) const {
    return i == j || (numbered() && own.labels[i] == other.labels[j]);
  }
  // Circle's exponent, and its derivative by c with the factor held.
  static double exponent(bool positive, double c) {
    return kScale *
           (positive ? std::max(0.0, 1 + kMargin - c) * (1 - kMargin - c) : std::max(0.0, c + kMargin) * (c - kMargin));
  }
  static double exponent_slope(bool positive, double c) {
    return kScale * (positive ? -std::max(0.0, 1 + kMargin - c) : std::max(0.0, c + kMargin));
  }

  void verify_side(const char* name, const Side& own, const Side& other) const {
    const int64_t d = own.rows.columns(), m = other.rows.rows();
    for (const int64_t i : spots(own.rows.rows())) {
      double negatives = 0, positives = 0, sum_positive = 0, count = 0;
      Doubles of_positive;
      for (int64_t j = 0; j < m; ++j) {
        const double c = dot(own.rows.row(i), other.rows.row(j), d);
        const bool is_positive = positive(own, i, other, j), circle = kind_ == DUET_CONTRASTIVE_KIND_CIRCLE;
        const double x = circle ? exponent(is_positive, c) : kScale * c;
        (is_positive ? positives : negatives) += std::exp(x);
        if (is_positive) of_positive.push_back(x), sum_positive += x, ++count;
      }
      double expected = 0;
      if (kind_ == DUET_CONTRASTIVE_KIND_INFONCE || kind_ == DUET_CONTRASTIVE_KIND_MULTI_POSITIVE)
        expected = std::log(negatives + positives) - sum_positive / count;
      if (negatives > 0 && count > 0) {
        if (kind_ == DUET_CONTRASTIVE_KIND_DECOUPLED) expected = std::log(negatives) - sum_positive / count;
        if (kind_ == DUET_CONTRASTIVE_KIND_CIRCLE) expected = softplus(std::log(negatives) + std::log(positives));
        if (kind_ == DUET_CONTRASTIVE_KIND_NTXENT)
          for (const double x : of_positive) expected += softplus(std::log(negatives) - x);
      }
      expect_close(name, i, own.loss[i], expected);
    }
  }

  // What the direction with anchor i in own says of the dot c of (i, j), from its statistics.
  double slope(const Side& own, int64_t i, const Side& other, int64_t j, double c) const {
    const float* statistics = own.statistics.row(i);
    if (!std::isfinite(statistics[0])) return 0;
    const bool is_positive = positive(own, i, other, j);
    const double score = kScale * c, against = statistics[0] - score;
    switch (kind_) {
      case DUET_CONTRASTIVE_KIND_CIRCLE:
        return own.weight[i] * sigmoid(double{statistics[0]} + statistics[1]) * exponent_slope(is_positive, c) *
               std::exp(exponent(is_positive, c) - statistics[is_positive ? 1 : 0]);
      case DUET_CONTRASTIVE_KIND_NTXENT:
        return own.weight[i] * kScale * (is_positive ? -sigmoid(against) : statistics[1] * std::exp(-against));
      case DUET_CONTRASTIVE_KIND_DECOUPLED:
        return own.weight[i] * kScale * (is_positive ? -statistics[1] : std::exp(-against));
      default: return own.weight[i] * kScale * (std::exp(-against) - (is_positive ? statistics[1] : 0));
    }
  }

  duet_context* context_;
  duet_contrastive_kind kind_;
  Floats scale_;
  Scratch scratch_;
};

Registration variant(const char* name, duet_contrastive_kind kind) {
  return {"contrastive", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Relation>(setting, kind); }};
}
const Registration kVariants[] = {
    variant("decoupled", DUET_CONTRASTIVE_KIND_DECOUPLED), variant("circle", DUET_CONTRASTIVE_KIND_CIRCLE),
    variant("ntxent", DUET_CONTRASTIVE_KIND_NTXENT), variant("infonce_groups", DUET_CONTRASTIVE_KIND_INFONCE),
    variant("multi_positive_labels", DUET_CONTRASTIVE_KIND_MULTI_POSITIVE)};

}  // namespace
}  // namespace duet::bench
