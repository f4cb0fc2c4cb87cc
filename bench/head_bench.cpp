#include <array>

#include "bench/bench.h"
#include "bench/verify.h"

namespace duet::bench {
namespace {

constexpr int64_t kModalities = 2;
constexpr float kScale = 10;  // METHOD.md 6.1

struct Modality {
  Floats x, u, logits, grad_u, grad_logits, grad_x;
};
struct Set {
  std::array<Modality, kModalities> modalities;
  Floats weight, bias, grad_weight, grad_bias;
};
using Views = std::array<duet_matrix, kModalities>;
using ConstViews = std::array<duet_const_matrix, kModalities>;

// n samples of d features of each of two modalities, C classes.
class Head : public Rotating<Set> {
 public:
  explicit Head(const Setting& setting) : context_(setting.context) {
    const int64_t n = setting.shape.n, d = setting.shape.d, classes = setting.shape.classes;
    draw_sets(
        [&](Draw& draw) {
          const auto modality = [&] {
            return Modality{draw.normals(n, d),
                            Floats(n, d),
                            Floats(n, classes),
                            draw.uniforms(n, d, -1, 1),
                            draw.uniforms(n, classes, -1, 1),
                            Floats(n, d)};
          };
          return Set{{modality(), modality()},
                     draw.uniforms(classes, d, -0.3, 0.3),
                     draw.uniforms(classes, 1, -0.1, 0.1),
                     Floats(classes, d),
                     Floats(classes)};
        },
        [](const Set& s) {
          double bytes = bytes_of(s.weight, s.grad_weight);
          for (const Modality& of : s.modalities)
            bytes += bytes_of(of.x, of.u, of.logits, of.grad_u, of.grad_logits, of.grad_x);
          return bytes;
        });
    const Set& s = set(0);
    const auto x = views<ConstViews>(s, &Modality::x);
    const duet_head_inputs in = inputs(s, x);
    size_t bytes = 0;
    succeed(duet_head_workspace(context_, &in, &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const double rows = static_cast<double>(kModalities * n), width = static_cast<double>(d), logits = rows * classes;
    const Modality& of = s.modalities[0];
    forward_cost = {2 * logits * width + 3 * rows * width,
                    kModalities * bytes_of(of.x, of.u, of.logits) + bytes_of(s.weight, s.bias), kModalities};
    backward_cost = {4 * logits * width + 8 * rows * width,
                     kModalities * (bytes_of(of.x, of.u, of.grad_u, of.grad_logits) + 2 * of.grad_x.bytes()) +
                         s.weight.bytes() + 2 * bytes_of(s.grad_weight, s.grad_bias),
                     2 * kModalities};
    product = {n, classes, d};
  }

  void forward(int k) override {
    const Set& s = set(k);
    const auto x = views<ConstViews>(s, &Modality::x);
    const Views u = views(s, &Modality::u), logits = views(s, &Modality::logits);
    const duet_head_inputs in = inputs(s, x);
    succeed(duet_head_forward(context_, &in, sized<duet_head_outputs>({.u = u.data(), .logits = logits.data()}),
                              scratch_.view()));
  }

  void backward(int k) override {
    const Set& s = set(k);
    const auto x = views<ConstViews>(s, &Modality::x), u = views<ConstViews>(s, &Modality::u),
               grad_u = views<ConstViews>(s, &Modality::grad_u),
               grad_logits = views<ConstViews>(s, &Modality::grad_logits);
    const Views grad_x = views(s, &Modality::grad_x);
    const duet_head_inputs in = inputs(s, x);
    succeed(duet_head_backward(context_, &in,
                               sized<duet_head_gradients>({.u = u.data(),
                                                           .grad_u = grad_u.data(),
                                                           .grad_logits = grad_logits.data(),
                                                           .grad_x = grad_x.data(),
                                                           .grad_weight = s.grad_weight.matrix(),
                                                           .grad_bias = s.grad_bias.vector()}),
                               scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const Modality& of : s.modalities)
      for (const int64_t i : spots(of.x.rows())) {
        const double scale = 1 / norm(of, i);
        Doubles u;
        for (int64_t k = 0; k < of.x.columns(); ++k) u.push_back(of.x.row(i)[k] * scale);
        expect_row("u", i, of.u.row(i), u);
        Doubles logits = scores(kScale * scale, of.x.row(i), s.weight);
        for (int64_t c = 0; c < s.weight.rows(); ++c) logits[static_cast<size_t>(c)] += kScale * double{s.bias[c]};
        expect_row("logits", i, of.logits.row(i), logits);
      }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.weight.columns(), classes = s.weight.rows();
    for (const Modality& of : s.modalities)
      for (const int64_t i : spots(of.x.rows())) {
        Doubles g(of.grad_u.row(i), of.grad_u.row(i) + d);
        for (int64_t c = 0; c < classes; ++c)
          add_distance_gradient(DUET_METRIC_INNER, s.weight.row(c), s.weight.row(c), d,
                                double{kScale} * of.grad_logits.row(i)[c], g);
        const double length = norm(of, i);
        double along = 0;
        for (int64_t k = 0; k < d; ++k) along += g[static_cast<size_t>(k)] * of.x.row(i)[k] / (length * length);
        for (int64_t k = 0; k < d; ++k)
          g[static_cast<size_t>(k)] = (g[static_cast<size_t>(k)] - along * of.x.row(i)[k]) / length;
        expect_row("grad_x", i, of.grad_x.row(i), g);
      }
    for (const int64_t c : spots(classes)) {
      Doubles weight(static_cast<size_t>(d));
      double bias = 0, size = 0;
      for (const Modality& of : s.modalities)
        for (int64_t i = 0; i < of.x.rows(); ++i) {
          const double g = double{kScale} * of.grad_logits.row(i)[c];
          add_distance_gradient(DUET_METRIC_INNER, of.u.row(i), of.u.row(i), d, g, weight);
          bias += g, size += std::abs(g);
        }
      expect_row("grad_weight", c, s.grad_weight.row(c), weight);
      expect_close("grad_bias", c, s.grad_bias[c], bias, size);
    }
  }

 private:
  static double norm(const Modality& of, int64_t i) { return std::sqrt(dot(of.x.row(i), of.x.row(i), of.x.columns())); }
  template <class All = Views>
  static All views(const Set& s, Floats Modality::*which) {
    All out;
    for (size_t k = 0; k < out.size(); ++k) out[k] = (s.modalities[k].*which).matrix();
    return out;
  }
  duet_head_inputs inputs(const Set& s, const ConstViews& x) const {
    duet_head_inputs in = DUET_HEAD_INPUTS_INIT;
    in.x = x.data(), in.count = kModalities, in.weight = s.weight.matrix(), in.bias = s.bias.vector(),
    in.output_scale = kScale;
    return in;
  }

  duet_context* context_;
  Scratch scratch_;
};

const Registration kVariant("head", "two_modalities", Passes::forward_and_backward,
                            [](const Setting& setting) { return std::make_unique<Head>(setting); });

}  // namespace
}  // namespace duet::bench
