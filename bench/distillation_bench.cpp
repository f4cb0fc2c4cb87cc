#include "bench/agreement.h"
#include "bench/bench.h"

namespace duet::bench {
namespace {

enum class Kind { teacher, agreement };  // every kappa 0, or a mixture with soft labels

constexpr double kScale = 10, kTeacherScale = 10;  // tau = tau' = 0.1

// One modality: what METHOD.md 5 needs of it, and what it gets.
struct Side {
  Floats student, teacher, classes, trust, kappa, loss, statistics, weight, grad;

  Side(Draw& draw, int64_t rows, int64_t d, int64_t class_count)
      : student(draw.unit_rows(rows, d)),
        teacher(draw.unit_rows(rows, d)),
        classes(draw.distributions(rows, class_count)),
        trust(draw.coins(rows, 1, 0)),
        kappa(draw.coins(rows, 1, 0.5f)),
        loss(rows),
        statistics(rows, DUET_DISTILLATION_STATISTICS),
        weight(draw.uniforms(rows, 1, 0, 1)),
        grad(rows, d) {}
};

struct Set {
  Side a, v;
  Floats grad_scale;
};

class Distillation : public Rotating<Set> {
 public:
  Distillation(const Setting& setting, Kind kind)
      : context_(setting.context), kind_(kind), scale_(scalar(kScale)), teacher_scale_(scalar(kTeacherScale)) {
    const int64_t n = setting.shape.n, m = setting.shape.m, d = setting.shape.d, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          return Set{Side(draw, n, d, classes), Side(draw, m, d, classes), Floats(1)};
        },
        [&](const Set& s) { return read(s.a) + read(s.v) + bytes_of(s.a.grad, s.v.grad); });
    const duet_distillation_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_distillation_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double pairs = static_cast<double>(n) * m;
    const Set& s = set(0);
    // Two scores: two exponentials and the sum of their differences each way; the agreement: its product of rank C, a
    // logarithm, two sums.
    const double labels = kind == Kind::agreement ? 2.0 * static_cast<double>(classes) + 8 : 0;
    forward_cost = {4 * pairs * d + (20 + labels) * pairs,
                    read(s.a) + read(s.v) + bytes_of(s.a.loss, s.v.loss, s.a.statistics, s.v.statistics), 2};
    backward_cost = {8 * pairs * d + (12 + labels) * pairs,
                     read(s.a) + read(s.v) + bytes_of(s.a.statistics, s.v.statistics, s.a.weight, s.v.weight) +
                         2 * bytes_of(s.a.grad, s.v.grad),
                     4};
    product = {n, m, d};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_distillation_inputs in = inputs(s);
    succeed(duet_distillation_forward(context_, &in,
                                      sized<duet_distillation_outputs>({.row_loss = s.a.loss.vector(),
                                                                        .column_loss = s.v.loss.vector(),
                                                                        .row_statistics = s.a.statistics.matrix(),
                                                                        .column_statistics = s.v.statistics.matrix()}),
                                      scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_distillation_inputs in = inputs(s);
    succeed(duet_distillation_backward(context_, &in,
                                       sized<duet_distillation_gradients>({.row_statistics = s.a.statistics.matrix(),
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
    const int64_t d = s.a.student.columns();
    for (const int64_t i : spots(s.a.student.rows())) {
      Doubles expected(static_cast<size_t>(d));
      for (int64_t j = 0; j < s.v.student.rows(); ++j) {
        const double student = kScale * dot(s.a.student.row(i), s.v.student.row(j), d);
        const double teacher = kTeacherScale * dot(s.a.teacher.row(i), s.v.teacher.row(j), d);
        const double g = pull(s.a, i, s.v, j, student, teacher) + pull(s.v, j, s.a, i, student, teacher);
        add_distance_gradient(DUET_METRIC_INNER, s.a.student.row(i), s.v.student.row(j), d, kScale * g, expected);
      }
      expect_row("grad_a", i, s.a.grad.row(i), expected);
    }
    expect_balanced(s.a.student, s.a.grad, s.v.student, s.v.grad);
    expect_close("grad_scale", 0, s.grad_scale[0], dot(s.a.student, s.a.grad) / kScale,
                 absolute_dot(s.a.student, s.a.grad) / kScale);
  }

 private:
  double read(const Side& side) const {
    return bytes_of(side.student, side.teacher) +
           (kind_ == Kind::agreement ? bytes_of(side.classes, side.trust, side.kappa) : 0);
  }

  duet_distillation_inputs inputs(const Set& s) const {
    duet_distillation_inputs in = DUET_DISTILLATION_INPUTS_INIT;
    in.student_a = s.a.student.matrix(), in.student_v = s.v.student.matrix();
    in.teacher_a = s.a.teacher.matrix(), in.teacher_v = s.v.teacher.matrix();
    in.scale = scale_.vector(), in.teacher_scale = teacher_scale_.vector();
    if (kind_ == Kind::agreement) {
      in.class_a = s.a.classes.matrix(), in.class_v = s.v.classes.matrix();
      in.trust_a = s.a.trust.vector(), in.trust_v = s.v.trust.vector();
      in.kappa_a = s.a.kappa.vector(), in.kappa_v = s.v.kappa.vector(), in.paired = 1;
    }
    return in;
  }

  double kappa(const Side& side, int64_t i) const { return kind_ == Kind::agreement ? side.kappa[i] : 0; }

  // The losses and statistics of one direction, its anchors in own.
  void verify_side(const char* name, const Side& own, const Side& other) const {
    for (const int64_t i : spots(own.student.rows())) {
      const Doubles student = scores(kScale, own.student.row(i), other.student),
                    teacher = scores(kTeacherScale, own.teacher.row(i), other.teacher);
      const double lse = log_sum_exp(student), lse_teacher = log_sum_exp(teacher), share = kappa(own, i);
      double expected = 0;
      for (size_t j = 0; j < student.size(); ++j)
        expected +=
            (1 - share) * std::exp(teacher[j] - lse_teacher) * ((teacher[j] - lse_teacher) - (student[j] - lse));
      expect_close("lse_s", i, own.statistics.row(i)[0], lse);
      expect_close("lse_t", i, own.statistics.row(i)[1], lse_teacher);
      if (kind_ == Kind::agreement) {
        const Doubles positive = positive_weights(own.classes, i, other.classes, other.trust);
        const double total = sum(positive);
        expect_close("N", i, own.statistics.row(i)[2], total);
        for (size_t j = 0; j < positive.size(); ++j)
          if (positive[j] > 0)
            expected += share * positive[j] / total * (std::log(positive[j] / total) - (student[j] - lse));
      }
      expect_close(name, i, own.loss[i], expected);
    }
  }

  // What the direction with anchor i in own says of the score of (i, j), from its statistics.
  double pull(const Side& own, int64_t i, const Side& other, int64_t j, double student, double teacher) const {
    const float* statistics = own.statistics.row(i);
    const double share = kappa(own, i), p = std::exp(student - statistics[0]);
    double g = (1 - share) * (p - std::exp(teacher - statistics[1]));
    if (share > 0 && statistics[2] > 0) {
      const double w =
          positive_weight(own.classes.row(i), other.classes.row(j), own.classes.columns(), other.trust[j], i == j);
      g += share * (p - w / statistics[2]);
    }
    return own.weight[i] * g;
  }

  duet_context* context_;
  Kind kind_;
  Floats scale_, teacher_scale_;
  Scratch scratch_;
};

Registration variant(const char* name, Kind kind) {
  return {"distillation", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Distillation>(setting, kind); }};
}
const Registration kVariants[] = {variant("teacher", Kind::teacher), variant("agreement", Kind::agreement)};

}  // namespace
}  // namespace duet::bench
