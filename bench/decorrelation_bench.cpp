#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

constexpr double kEps = 1e-5;

struct Set {
  Floats a, v, loss, grad_a, grad_v;
};

// n pairs of d columns.
class Decorrelation : public Rotating<Set> {
 public:
  explicit Decorrelation(const Setting& setting) : context_(setting.context), grad_loss_(scalar(1)) {
    const int64_t n = setting.shape.n, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.normals(n, d), draw.normals(n, d), Floats(1), Floats(n, d), Floats(n, d)};
        },
        [](const Set& s) { return bytes_of(s.a, s.v, s.grad_a, s.grad_v); });
    const duet_decorrelation_inputs in = inputs(set(0));
    size_t bytes = 0;
    succeed(duet_decorrelation_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const Set& s = set(0);
    const double elements = static_cast<double>(n) * d;
    // R again, then its two products back; standardising an element takes about six operations, its gradient as many.
    forward_cost = {2 * elements * d + 12 * elements, bytes_of(s.a, s.v, s.loss), 1};
    backward_cost = {6 * elements * d + 24 * elements, bytes_of(s.a, s.v) + 2 * bytes_of(s.grad_a, s.grad_v), 3};
    product = {d, d, n};
  }

  void forward(int k) override {
    const duet_decorrelation_inputs in = inputs(set(k));
    succeed(duet_decorrelation_forward(context_, &in, sized<duet_decorrelation_outputs>({.loss = set(k).loss.vector()}),
                                       scratch_.view()));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_decorrelation_inputs in = inputs(s);
    succeed(duet_decorrelation_backward(
        context_, &in,
        sized<duet_decorrelation_gradients>(
            {.grad_loss = grad_loss_.vector(), .grad_a = s.grad_a.matrix(), .grad_v = s.grad_v.matrix()}),
        scratch_.view()));
  }

  void verify_forward() override { expect_close("loss", 0, set(0).loss[0], Sides(set(0)).loss); }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.a.columns();
    const Sides sides(s);
    for (const int64_t k : spots(d)) {
      expect_column("grad_a", k, s.grad_a, sides.gradient(k, true));
      expect_column("grad_v", k, s.grad_v, sides.gradient(k, false));
    }
  }

 private:
  // METHOD.md 6.8 in double.
  struct Sides {
    int64_t n, d;
    Doubles a, v, a_scale, v_scale;  // standardised columns, n x d, and what each was divided by
    Doubles r;                       // d x d
    double loss = 0;

    explicit Sides(const Set& s) : n(s.a.rows()), d(s.a.columns()), r(static_cast<size_t>(d * d)) {
      standardise(s.a, a, a_scale), standardise(s.v, v, v_scale);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < d; ++k) {
          const double factor = a[static_cast<size_t>(i * d + k)] / static_cast<double>(n);
          for (int64_t l = 0; l < d; ++l)
            r[static_cast<size_t>(k * d + l)] += factor * v[static_cast<size_t>(i * d + l)];
        }
      for (int64_t k = 0; k < d; ++k)
        for (int64_t l = 0; l < d; ++l)
          if (k != l)
            loss += r[static_cast<size_t>(k * d + l)] * r[static_cast<size_t>(k * d + l)] /
                    static_cast<double>(d * (d - 1));
    }

    static void standardise(const Floats& x, Doubles& out, Doubles& scale) {
      const int64_t n = x.rows(), d = x.columns();
      out.resize(static_cast<size_t>(n * d));
      for (int64_t k = 0; k < d; ++k) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < n; ++i) mean += x.row(i)[k] / static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i)
          variance += (x.row(i)[k] - mean) * (x.row(i)[k] - mean) / static_cast<double>(n);
        scale.push_back(std::sqrt(variance + kEps));
        for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i * d + k)] = (x.row(i)[k] - mean) / scale.back();
      }
    }

    // dL / d column k of a (or v): through R, then through mean and deviation of the column.
    Doubles gradient(int64_t k, bool of_a) const {
      const Doubles &own = of_a ? a : v, &other = of_a ? v : a;
      Doubles out(static_cast<size_t>(n));
      double mean = 0, along = 0;
      for (int64_t i = 0; i < n; ++i) {
        double& g = out[static_cast<size_t>(i)];
        for (int64_t l = 0; l < d; ++l)
          if (l != k)
            g += 2 * r[static_cast<size_t>(of_a ? k * d + l : l * d + k)] * other[static_cast<size_t>(i * d + l)];
        g /= static_cast<double>(n) * static_cast<double>(d * (d - 1));
        if (d == 1) g = 0;
        mean += g / static_cast<double>(n), along += g * own[static_cast<size_t>(i * d + k)] / static_cast<double>(n);
      }
      const double scale = (of_a ? a_scale : v_scale)[static_cast<size_t>(k)];
      for (int64_t i = 0; i < n; ++i)
        out[static_cast<size_t>(i)] =
            (out[static_cast<size_t>(i)] - mean - along * own[static_cast<size_t>(i * d + k)]) / scale;
      return out;
    }
  };

  static void expect_column(const char* what, int64_t k, const Floats& actual, const Doubles& expected) {
    Floats column(actual.rows());
    for (int64_t i = 0; i < actual.rows(); ++i) column[i] = actual.row(i)[k];
    expect_row(what, k, column.row(0), expected);
  }

  duet_decorrelation_inputs inputs(const Set& s) const {
    duet_decorrelation_inputs in = DUET_DECORRELATION_INPUTS_INIT;
    in.a = s.a.matrix(), in.v = s.v.matrix(), in.eps = static_cast<float>(kEps);
    return in;
  }

  duet_context* context_;
  Floats grad_loss_;
  Scratch scratch_;
};

const Registration kVariant("decorrelation", "cross_modal", Passes::forward_and_backward,
                            [](const Setting& setting) { return std::make_unique<Decorrelation>(setting); });

}  // namespace
}  // namespace duet::bench
