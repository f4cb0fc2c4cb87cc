// linear, head, activation, dropout: the layers of an encoder and of its classifier.
#include <cmath>

#include "tests/backends/operations.h"
#include "tests/reference/activation.h"
#include "tests/reference/head.h"
#include "tests/reference/linear.h"

namespace duet::test::backends {
namespace {

struct Dropout {
  Longs step{1, 1};
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;

  explicit Dropout(Case& c) {
    step.fill(static_cast<double>(c.draw.integer(0, 1000)));
    options.drop_probability = c.one_of({0.0f, 0.2f, 0.5f, 0.9f});
    options.layer = static_cast<uint32_t>(c.draw.integer(0, 3)),
    options.seed = static_cast<uint64_t>(c.draw.integer(0, 1 << 30));
    options.step = step.vector(), options.first_row = c.one_of<int64_t>({0, 0, 7, int64_t{1} << 33});
  }
  Doubles factors(int64_t rows, int64_t columns) const {
    return reference::dropout_factors(options.drop_probability, options.seed, options.layer,
                                      static_cast<uint32_t>(step.at(0)), options.first_row, rows, columns);
  }
};

Doubles squared(Doubles values) {
  for (double& x : values) x *= x;
  return values;
}
// Sums whose terms cancel are off by the root of the squared terms.
Doubles moved_sums(const Values& value, Doubles sums, const Doubles& of_squares, double lost = 0) {
  for (size_t k = 0; k < sums.size(); ++k) sums[k] = value.moved(sums[k], std::sqrt(of_squares[k]) + lost, k);
  return sums;
}

}  // namespace

void linear(Case& c) {
  const int64_t batch = c.extent(), in = c.extent(), out = c.extent();
  Floats &x = c.rows(batch, in), &weight = c.rows(out, in), &bias = c.weights(out), &g = c.weights(batch, out);
  const bool has_bias = c.coin();
  Dropout dropout(c);
  duet_linear_inputs inputs = DUET_LINEAR_INPUTS_INIT;
  inputs.x = x.matrix(), inputs.weight = weight.matrix(), inputs.output_scale = c.one_of({1.0f, 10.0f, -0.3f});
  if (has_bias) inputs.bias = bias.vector();
  inputs.relu = c.coin();
  c.describe("relu", inputs.relu);
  if (inputs.relu) inputs.dropout = &dropout.options;
  c.run([&](Run& run) {
    const auto scratch =
        run.workspace([&](size_t* bytes) { return duet_linear_workspace(run.context, &inputs, bytes); });
    const duet_matrix outputs = run.output("outputs", batch, out);
    run.call(duet_linear_forward(run.context, &inputs, sized<duet_linear_outputs>({.outputs = outputs}), scratch));
    const duet_matrix grad_x = run.gradient("grad_x", batch, in), grad_weight = run.gradient("grad_weight", out, in);
    run.call(duet_linear_backward(run.context, &inputs,
                                  sized<duet_linear_gradients>({.outputs = inputs.relu ? outputs : duet_matrix{},
                                                                .grad_outputs = g.matrix(),
                                                                .grad_x = grad_x,
                                                                .grad_weight = grad_weight,
                                                                .grad_bias = run.gradient("grad_bias", out)}),
                                  scratch));
  });
  c.expect([&](const Values& value) {
    const reference::Linear layer{
        batch, in, out, value(x), value(weight), has_bias ? value(bias) : Doubles(), inputs.output_scale};
    Doubles outputs = layer.forward(), upstream = value(g);
    // Products that underflow do so before they are scaled.
    const double lost = static_cast<double>(in) * kLeast * std::max(std::abs(double{inputs.output_scale}), 1.0);
    for (double& y : outputs) y = value.moved(y, lost);
    if (inputs.relu) {
      const Doubles factors = dropout.factors(batch, out);
      for (size_t k = 0; k < outputs.size(); ++k) {
        // A dropped element is 0 whatever it was, and passes nothing on.
        outputs[k] = factors[k] == 0 ? 0 : factors[k] * reference::activation(DUET_ACTIVATION_KIND_RELU, outputs[k]);
        const double kept = 1 / (1 - double{dropout.options.drop_probability});
        // The backward pass reads the outputs as float32 holds them: 0 where they underflow.
        upstream[k] = std::isnan(outputs[k]) ? outputs[k] : static_cast<float>(outputs[k]) > 0 ? upstream[k] * kept : 0;
      }
    }
    auto grad = layer.backward(upstream);
    if (c.kind == Kind::ties) {  // where equal values move alike, terms that cancel, cancel to 0: each sum is moved by
                                 // the root of its squared terms
      const reference::Linear of_squares{
          batch, in, out, squared(layer.x), squared(layer.weight), {}, layer.scale * layer.scale};
      const auto terms = of_squares.backward(squared(upstream));
      grad = {moved_sums(value, grad.x, terms.x), moved_sums(value, grad.weight, terms.weight),
              moved_sums(value, grad.bias, terms.bias)};
    }
    return std::vector<Expected>{
        {"outputs", outputs}, {"grad_x", grad.x}, {"grad_weight", grad.weight}, {"grad_bias", grad.bias}};
  });
}

void head(Case& c) {
  const int64_t count = c.draw.integer(1, DUET_HEAD_MODALITIES), batch = c.extent(), width = c.extent(),
                classes = c.extent();
  struct Modality {
    Floats *x, *by_u, *by_logits;
    bool has_u, has_logits;
  };
  std::vector<Modality> all;
  for (int64_t k = 0; k < count; ++k)
    all.push_back(
        {&c.rows(batch, width), &c.weights(batch, width), &c.weights(batch, classes), c.coin(0.8), c.coin(0.8)});
  Floats &weight = c.rows(classes, width), &bias = c.weights(classes);
  const bool has_bias = c.coin();
  std::vector<duet_const_matrix> x, by_u, by_logits;
  for (const Modality& of : all) {
    x.push_back(of.x->matrix());
    by_u.push_back(of.has_u ? of.by_u->matrix() : duet_matrix{});
    by_logits.push_back(of.has_logits ? of.by_logits->matrix() : duet_matrix{});
  }
  duet_head_inputs inputs = DUET_HEAD_INPUTS_INIT;
  inputs.x = x.data(), inputs.count = count, inputs.weight = weight.matrix(), inputs.eps = c.one_of({1e-12f, 0.1f});
  inputs.output_scale = c.one_of({1.0f, 10.0f, -0.3f});
  if (has_bias) inputs.bias = bias.vector();
  const auto name = [](const char* what, int64_t k) { return text(what, k); };
  c.run([&](Run& run) {
    const auto scratch = run.workspace([&](size_t* bytes) { return duet_head_workspace(run.context, &inputs, bytes); });
    std::vector<duet_matrix> u, logits, grad_x;
    for (int64_t k = 0; k < count; ++k) {
      u.push_back(run.output(name("u", k), batch, width)),
          logits.push_back(run.output(name("logits", k), batch, classes));
      grad_x.push_back(run.gradient(name("grad_x", k), batch, width));
    }
    run.call(duet_head_forward(run.context, &inputs, sized<duet_head_outputs>({.u = u.data(), .logits = logits.data()}),
                               scratch));
    const std::vector<duet_const_matrix> given_u(u.begin(), u.end());
    const duet_matrix grad_weight = run.gradient("grad_weight", classes, width);
    run.call(duet_head_backward(run.context, &inputs,
                                sized<duet_head_gradients>({.u = given_u.data(),
                                                            .grad_u = by_u.data(),
                                                            .grad_logits = by_logits.data(),
                                                            .grad_x = grad_x.data(),
                                                            .grad_weight = grad_weight,
                                                            .grad_bias = run.gradient("grad_bias", classes)}),
                                scratch));
  });
  c.expect([&](const Values& value) {
    reference::Head head{
        batch, width, classes, {}, value(weight), has_bias ? value(bias) : Doubles(), inputs.eps, inputs.output_scale};
    std::vector<Doubles> of_u, of_logits;
    for (const Modality& of : all) {
      head.x.push_back(value(*of.x));
      of_u.push_back(of.has_u && of.by_u->rows() * width > 0 ? value(*of.by_u) : Doubles());
      of_logits.push_back(of.has_logits && of.by_logits->rows() * classes > 0 ? value(*of.by_logits) : Doubles());
    }
    const auto out = head.forward();
    const auto grad = head.backward(of_u, of_logits);
    std::vector<Expected> expected;
    Doubles weight_terms(grad.weight.size()), bias_terms(grad.bias.size());
    for (int64_t k = 0; k < count; ++k) {
      const auto at = static_cast<size_t>(k);
      const reference::Linear terms{
          batch, width, classes, squared(out.u[at]), squared(head.weight), squared(head.bias), head.scale * head.scale};
      // A product that underflows does so before it is scaled.
      const double lost = static_cast<double>(width) * kLeast * std::max(std::abs(head.scale), 1.0);
      expected.push_back({name("u", k), out.u[at]});
      expected.push_back({name("logits", k), moved_sums(value, out.logits[at], terms.forward(), lost)});
      Doubles g_terms = of_u[at].empty() ? Doubles(head.x[at].size()) : squared(of_u[at]);
      if (!of_logits[at].empty()) {
        const auto of_layer = terms.backward(squared(of_logits[at]));
        for (size_t e = 0; e < g_terms.size(); ++e) g_terms[e] += of_layer.x[e];
        for (size_t e = 0; e < weight_terms.size(); ++e) weight_terms[e] += of_layer.weight[e];
        for (size_t e = 0; e < bias_terms.size(); ++e) bias_terms[e] += of_layer.bias[e];
      }
      // What came back, rounded, and g - (g.u) u of it, which cancels; both divided by the norm.
      Doubles grad_x = grad.x[at];
      for (int64_t i = 0; i < batch; ++i) {
        double square = 0, along = 0;
        for (int64_t j = i * width; j < (i + 1) * width; ++j) {
          const auto e = static_cast<size_t>(j);
          square += head.x[at][e] * head.x[at][e], along += std::sqrt(g_terms[e]) * std::abs(out.u[at][e]);
        }
        for (int64_t j = i * width; j < (i + 1) * width; ++j) {
          const auto e = static_cast<size_t>(j);
          grad_x[e] = value.moved(grad_x[e],
                                  (std::sqrt(g_terms[e]) + along) / std::max(std::sqrt(square), double{inputs.eps}), e);
        }
      }
      expected.push_back(
          {name("grad_x", k), of_u[at].empty() && of_logits[at].empty() ? Doubles(grad_x.size()) : grad_x});
    }
    expected.push_back({"grad_weight", moved_sums(value, grad.weight, weight_terms)});
    expected.push_back({"grad_bias", moved_sums(value, grad.bias, bias_terms)});
    return expected;
  });
}

void activation(Case& c) {
  const int64_t rows = c.extent(), columns = c.extent();
  Floats &x = c.rows(rows, columns), &g = c.weights(rows, columns);
  duet_activation_inputs inputs = DUET_ACTIVATION_INPUTS_INIT;
  inputs.kind = c.one_of({DUET_ACTIVATION_KIND_RELU, DUET_ACTIVATION_KIND_TANH, DUET_ACTIVATION_KIND_GELU}),
  inputs.x = x.matrix();
  c.run([&](Run& run) {
    run.call(duet_activation_forward(
        run.context, &inputs, sized<duet_activation_outputs>({.outputs = run.output("outputs", rows, columns)})));
    if (const duet_matrix grad = run.gradient("grad_x", rows, columns); grad.data)
      run.call(duet_activation_backward(
          run.context, &inputs, sized<duet_activation_gradients>({.grad_outputs = g.matrix(), .grad_x = grad})));
  });
  c.expect([&](const Values& value) {
    Doubles outputs = value(x), grad = value(g);
    for (size_t k = 0; k < outputs.size(); ++k) {
      grad[k] *= reference::activation_slope(inputs.kind, outputs[k]);
      outputs[k] = reference::activation(inputs.kind, outputs[k]);
    }
    return std::vector<Expected>{{"outputs", outputs}, {"grad_x", grad}};
  });
}

void dropout(Case& c) {
  const int64_t rows = c.extent(), columns = c.extent();
  Floats &x = c.rows(rows, columns), &g = c.weights(rows, columns);
  Dropout dropout(c);
  c.run([&](Run& run) {
    run.call(duet_dropout_forward(run.context,
                                  sized<duet_dropout_inputs>({.x = x.matrix(), .dropout = &dropout.options}),
                                  sized<duet_dropout_outputs>({.outputs = run.output("outputs", rows, columns)})));
    if (const duet_matrix grad = run.gradient("grad_x", rows, columns); grad.data)
      run.call(duet_dropout_backward(run.context, sized<duet_dropout_inputs>({.dropout = &dropout.options}),
                                     sized<duet_dropout_gradients>({.grad_outputs = g.matrix(), .grad_x = grad})));
  });
  c.expect([&](const Values& value) {
    const Doubles factors = dropout.factors(rows, columns);
    Doubles outputs = value(x), grad = value(g);
    for (size_t k = 0; k < factors.size(); ++k) {
      outputs[k] = factors[k] == 0 ? 0 : outputs[k] * factors[k];
      grad[k] = factors[k] == 0 ? 0 : grad[k] * factors[k];
    }
    return std::vector<Expected>{{"outputs", outputs}, {"grad_x", grad}};
  });
}

}  // namespace duet::test::backends
