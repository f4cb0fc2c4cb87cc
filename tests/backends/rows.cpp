// unit_rows, layer_norm, decorrelation: what works along rows or columns of one batch.
#include <algorithm>
#include <cmath>

#include "tests/backends/operations.h"
#include "tests/reference/decorrelation.h"
#include "tests/reference/normalization.h"

namespace duet::test::backends {

void unit_rows(Case& c) {
  const int64_t rows = c.extent(), columns = c.extent();
  Floats &x = c.rows(rows, columns), &g = c.weights(rows, columns);
  const float eps = c.one_of({1e-12f, 0.1f});
  c.run([&](Run& run) {
    run.call(duet_unit_rows_forward(run.context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                                    sized<duet_unit_rows_outputs>({.outputs = run.output("outputs", rows, columns)})));
    if (const duet_matrix grad = run.gradient("grad_x", rows, columns); grad.data)
      run.call(duet_unit_rows_backward(run.context, sized<duet_unit_rows_inputs>({.x = x.matrix(), .eps = eps}),
                                       sized<duet_unit_rows_gradients>({.grad_outputs = g.matrix(), .grad_x = grad})));
  });
  c.expect([&](const Values& value) {
    if (columns == 0) return std::vector<Expected>{};
    const Doubles moved = value(x), upstream = value(g), outputs = reference::unit_rows(moved, columns, eps);
    Doubles grad = reference::unit_rows_backward(moved, columns, eps, upstream);
    // g - (g.y) y cancels.
    for (int64_t i = 0; i < rows; ++i) {
      double square = 0, along = 0;
      for (int64_t k = i * columns; k < (i + 1) * columns; ++k) {
        square += moved[static_cast<size_t>(k)] * moved[static_cast<size_t>(k)];
        along += std::abs(upstream[static_cast<size_t>(k)] * outputs[static_cast<size_t>(k)]);
      }
      for (int64_t k = i * columns; k < (i + 1) * columns; ++k)
        grad[static_cast<size_t>(k)] =
            value.moved(grad[static_cast<size_t>(k)], (std::abs(upstream[static_cast<size_t>(k)]) + along) /
                                                          std::max(std::sqrt(square), double{eps}));
    }
    return std::vector<Expected>{{"outputs", outputs}, {"grad_x", grad}};
  });
}

void layer_norm(Case& c) {
  const int64_t rows = c.extent(), columns = c.extent();
  Floats &x = c.rows(rows, columns), &g = c.weights(rows, columns), &gain = c.weights(columns),
         &offset = c.weights(columns);
  const bool has_gain = c.coin(), has_offset = c.coin();
  duet_layer_norm_inputs inputs = DUET_LAYER_NORM_INPUTS_INIT;
  inputs.x = x.matrix(), inputs.eps = c.one_of({1e-5f, 1e-12f});
  if (has_gain) inputs.gain = gain.vector();
  if (has_offset) inputs.offset = offset.vector();
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_layer_norm_workspace(run.context, &inputs, bytes); });
    run.call(duet_layer_norm_forward(
        run.context, &inputs, sized<duet_layer_norm_outputs>({.outputs = run.output("outputs", rows, columns)})));
    const duet_matrix grad_x = run.gradient("grad_x", rows, columns);
    const duet_vector grad_gain = run.gradient("grad_gain", columns),
                      grad_offset = run.gradient("grad_offset", columns);
    run.call(duet_layer_norm_backward(
        run.context, &inputs,
        sized<duet_layer_norm_gradients>(
            {.grad_outputs = g.matrix(), .grad_x = grad_x, .grad_gain = grad_gain, .grad_offset = grad_offset}),
        scratch));
  });
  c.expect([&](const Values& value) {
    if (columns == 0) return std::vector<Expected>{};
    const reference::LayerNorm layer{columns, has_gain ? value(gain) : Doubles(),
                                     has_offset ? value(offset) : Doubles(), inputs.eps};
    const Doubles moved = value(x);
    const Doubles upstream = value(g);
    auto grad = layer.backward(moved, upstream);
    // g - mean - x along cancels, of two columns down to eps' share. It is formed in double, whose rounding is 1e-9 of
    // float32's.
    Doubles scales;
    const Doubles standard = layer.standardise(moved, &scales);
    for (int64_t i = 0; i < rows; ++i) {
      const size_t row = static_cast<size_t>(i * columns), size = static_cast<size_t>(columns);
      double mean = 0, along = 0;
      for (size_t k = 0; k < size; ++k) {
        const double term = std::abs(upstream[row + k] * layer.gain_at(k)) / static_cast<double>(columns);
        mean += term, along += term * std::abs(standard[row + k]);
      }
      for (size_t k = 0; k < size; ++k) {
        const double terms =
            std::abs(upstream[row + k] * layer.gain_at(k)) + mean + along * std::abs(standard[row + k]);
        grad.x[row + k] = value.moved(grad.x[row + k], 1e-9 * terms * scales[static_cast<size_t>(i)], row + k);
      }
    }
    return std::vector<Expected>{
        {"outputs", layer.forward(moved)}, {"grad_x", grad.x}, {"grad_gain", grad.gain}, {"grad_offset", grad.offset}};
  });
}

namespace {

// The sizes of what dL/da's entries are the difference of: (g - mean - x along) / deviation cancels.
Doubles decorrelation_terms(const Doubles& a, const Doubles& v, int64_t n, int64_t d, double eps) {
  Doubles sizes(a.size());
  if (d <= 1 || n == 0) return sizes;
  const auto x = reference::standardise(a, n, d, eps), y = reference::standardise(v, n, d, eps);
  const auto r = reference::cross_correlation(x, y, n, d);
  const double pairs = static_cast<double>(d) * static_cast<double>(d - 1), count = static_cast<double>(n);
  for (int64_t k = 0; k < d; ++k) {
    const auto entry = [&](const Doubles& of, int64_t i, int64_t l) {
      return std::abs(of[static_cast<size_t>(i * d + l)]);
    };
    Doubles g(static_cast<size_t>(n));
    double mean = 0, along = 0;
    for (int64_t i = 0; i < n; ++i) {
      double& size = g[static_cast<size_t>(i)];
      // R is a mean of n products, each of rounded factors.
      for (int64_t l = 0; l < d; ++l) size += 2 * (entry(r, k, l) + 1e-6) * entry(y.rows, i, l) / pairs / count;
      mean += size / count;
      along += size * entry(x.rows, i, k) / count;
    }
    for (int64_t i = 0; i < n; ++i)
      sizes[static_cast<size_t>(i * d + k)] =
          (g[static_cast<size_t>(i)] + mean + entry(x.rows, i, k) * along) / x.deviation[static_cast<size_t>(k)];
  }
  return sizes;
}

}  // namespace

void decorrelation(Case& c) {
  const int64_t n = c.extent(), d = c.extent(1);
  Floats &a = c.operands(n, d), &v = c.operands(n, d), &grad_loss = c.constant(c.draw.normal());
  duet_decorrelation_inputs inputs = DUET_DECORRELATION_INPUTS_INIT;
  inputs.a = c.features(a), inputs.v = c.features(v), inputs.eps = c.one_of({1e-5f, 1e-3f});
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_decorrelation_workspace(run.context, &inputs, bytes); });
    run.call(duet_decorrelation_forward(run.context, &inputs,
                                        sized<duet_decorrelation_outputs>({.loss = run.output("loss", 1)}), scratch));
    const duet_matrix grad_a = run.gradient("grad_a", n, d), grad_v = run.gradient("grad_v", n, d);
    run.call(duet_decorrelation_backward(
        run.context, &inputs,
        sized<duet_decorrelation_gradients>({.grad_loss = grad_loss.vector(), .grad_a = grad_a, .grad_v = grad_v}),
        scratch));
  });
  c.expect([&](const Values& value) {
    const Doubles of_a = value(a), of_v = value(v);
    const auto gradient = [&](const Doubles& of, const Doubles& other) {
      Doubles grad = reference::decorrelation_gradient(of, other, n, d, inputs.eps);
      const Doubles sizes = decorrelation_terms(of, other, n, d, inputs.eps);
      for (size_t k = 0; k < grad.size(); ++k) grad[k] = grad_loss.at(0) * value.moved(grad[k], sizes[k], k);
      return grad;
    };
    return std::vector<Expected>{{"loss", {reference::decorrelation(of_a, of_v, n, d, inputs.eps)}},
                                 {"grad_a", gradient(of_a, of_v)},
                                 {"grad_v", gradient(of_v, of_a)}};
  });
}

}  // namespace duet::test::backends
