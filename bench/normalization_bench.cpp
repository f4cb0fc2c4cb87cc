#include "bench/bench.h"
#include "bench/verify.h"
#include "kernels/core/norm.h"

namespace duet::bench {
namespace {

enum class Kind { unit_rows, layer_norm };

constexpr float kUnitEps = static_cast<float>(kSmallestNorm);
constexpr double kLayerEps = 1e-5;

struct Set {
  Floats x, gain, offset, outputs, grad_outputs, grad_x, grad_gain, grad_offset;
};

// n x d.
class Normalization : public Rotating<Set> {
 public:
  Normalization(const Setting& setting, Kind kind) : context_(setting.context), kind_(kind) {
    const int64_t n = setting.shape.n, d = setting.shape.d;
    draw_sets(
        [&](Draw& draw) {
          return Set{draw.normals(n, d),
                     draw.uniforms(d, 1, 0.5, 1.5),
                     draw.uniforms(d, 1, -1, 1),
                     Floats(n, d),
                     draw.uniforms(n, d, -1, 1),
                     Floats(n, d),
                     Floats(d),
                     Floats(d)};
        },
        [](const Set& s) { return bytes_of(s.x, s.outputs, s.grad_outputs, s.grad_x); });
    size_t bytes = 0;
    succeed(duet_layer_norm_workspace(context_, sized<duet_layer_norm_inputs>({.x = set(0).x.matrix()}), &bytes));
    scratch_ = Scratch(extra_bytes = bytes);

    const Set& s = set(0);
    const double elements = static_cast<double>(n) * d;
    const bool layer = kind == Kind::layer_norm;
    forward_cost = {(layer ? 7 : 3) * elements, bytes_of(s.x, s.outputs) + (layer ? bytes_of(s.gain, s.offset) : 0), 0};
    backward_cost = {(layer ? 14 : 8) * elements,
                     bytes_of(s.x, s.grad_outputs) + 2 * s.grad_x.bytes() +
                         (layer ? s.gain.bytes() + 2 * bytes_of(s.grad_gain, s.grad_offset) : 0),
                     0};
  }

  void forward(int k) override {
    Set& s = set(k);
    const duet_layer_norm_inputs in = inputs(s);
    if (kind_ == Kind::unit_rows)
      succeed(duet_unit_rows_forward(context_, sized<duet_unit_rows_inputs>({.x = s.x.matrix(), .eps = kUnitEps}),
                                     sized<duet_unit_rows_outputs>({.outputs = s.outputs.matrix()})));
    else
      succeed(duet_layer_norm_forward(context_, &in, sized<duet_layer_norm_outputs>({.outputs = s.outputs.matrix()})));
  }

  void backward(int k) override {
    Set& s = set(k);
    const duet_layer_norm_inputs in = inputs(s);
    if (kind_ == Kind::unit_rows)
      succeed(duet_unit_rows_backward(
          context_, sized<duet_unit_rows_inputs>({.x = s.x.matrix(), .eps = kUnitEps}),
          sized<duet_unit_rows_gradients>({.grad_outputs = s.grad_outputs.matrix(), .grad_x = s.grad_x.matrix()})));
    else
      succeed(duet_layer_norm_backward(context_, &in,
                                       sized<duet_layer_norm_gradients>({.grad_outputs = s.grad_outputs.matrix(),
                                                                         .grad_x = s.grad_x.matrix(),
                                                                         .grad_gain = s.grad_gain.vector(),
                                                                         .grad_offset = s.grad_offset.vector()}),
                                       scratch_.view()));
  }

  void verify_forward() override {
    const Set& s = set(0);
    for (const int64_t i : spots(s.x.rows())) {
      Doubles expected = standardised(i).row;
      for (int64_t k = 0; k < s.x.columns() && kind_ == Kind::layer_norm; ++k)
        expected[static_cast<size_t>(k)] = expected[static_cast<size_t>(k)] * s.gain[k] + s.offset[k];
      expect_row("outputs", i, s.outputs.row(i), expected);
    }
  }

  void verify_backward() override {
    const Set& s = set(0);
    const int64_t d = s.x.columns();
    for (const int64_t i : spots(s.x.rows())) {
      const Row row = standardised(i);
      Doubles g;
      double along = 0,
             mean = 0;  // of the upstream gradient along the row, and along the constant where the mean was taken out
      for (int64_t k = 0; k < d; ++k) {
        g.push_back(s.grad_outputs.row(i)[k] * (kind_ == Kind::layer_norm ? double{s.gain[k]} : 1));
        along += g.back() * row.row[static_cast<size_t>(k)], mean += g.back() / static_cast<double>(d);
      }
      if (kind_ == Kind::layer_norm)
        along /= static_cast<double>(d);
      else
        mean = 0;
      Doubles expected;
      for (size_t k = 0; k < g.size(); ++k) expected.push_back((g[k] - mean - along * row.row[k]) * row.scale);
      expect_row("grad_x", i, s.grad_x.row(i), expected);
    }
    if (kind_ == Kind::unit_rows) return;
    for (const int64_t k : spots(d)) {
      double gain = 0, offset = 0, size = 0;
      for (int64_t i = 0; i < s.x.rows(); ++i) {
        const double g = s.grad_outputs.row(i)[k];
        gain += g * standardised(i).row[static_cast<size_t>(k)], offset += g, size += std::abs(g);
      }
      expect_close("grad_gain", k, s.grad_gain[k], gain, size);
      expect_close("grad_offset", k, s.grad_offset[k], offset, size);
    }
  }

 private:
  struct Row {
    Doubles row;       // before gain and offset
    double scale = 1;  // what the row, its mean taken out where that is done, was multiplied by
  };

  Row standardised(int64_t i) {
    const Set& s = set(0);
    const int64_t d = s.x.columns();
    const float* x = s.x.row(i);
    double mean = 0, square = 0;
    for (int64_t k = 0; k < d && kind_ == Kind::layer_norm; ++k) mean += x[k] / static_cast<double>(d);
    for (int64_t k = 0; k < d; ++k) square += (x[k] - mean) * (x[k] - mean);
    Row out;
    out.scale = kind_ == Kind::layer_norm ? 1 / std::sqrt(square / static_cast<double>(d) + kLayerEps)
                                          : 1 / std::max(std::sqrt(square), double{kUnitEps});
    for (int64_t k = 0; k < d; ++k) out.row.push_back((x[k] - mean) * out.scale);
    return out;
  }

  duet_layer_norm_inputs inputs(const Set& s) const {
    duet_layer_norm_inputs in = DUET_LAYER_NORM_INPUTS_INIT;
    in.x = s.x.matrix(), in.gain = s.gain.vector(), in.offset = s.offset.vector();
    return in;
  }

  duet_context* context_;
  Kind kind_;
  Scratch scratch_;
};

Registration variant(const char* name, Kind kind) {
  return {"normalization", name, Passes::forward_and_backward,
          [kind](const Setting& setting) { return std::make_unique<Normalization>(setting, kind); }};
}
const Registration kVariants[] = {variant("unit_rows", Kind::unit_rows), variant("layer_norm", Kind::layer_norm)};

}  // namespace
}  // namespace duet::bench
