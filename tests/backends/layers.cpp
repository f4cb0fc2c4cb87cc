// linear, activation, dropout: the layers of an encoder.
#include <cmath>

#include "tests/backends/operations.h"
#include "tests/reference/activation.h"
#include "tests/reference/linear.h"

namespace duet::test::backends {
namespace {

struct Dropout {
  Longs step{1, 1};
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;

  explicit Dropout(Case& c) {
    step.fill(static_cast<double>(c.draw.integer(0, 1000)));
    options.drop_probability = c.one_of({0.0f, 0.2f, 0.5f, 0.9f});
    options.layer = static_cast<uint32_t>(c.draw.integer(0, 3)), options.seed = static_cast<uint64_t>(c.draw.integer(0, 1 << 30));
    options.step = step.vector(), options.first_row = c.one_of<int64_t>({0, 0, 7, int64_t{1} << 33});
  }
  Doubles factors(int64_t rows, int64_t columns) const {
    return reference::dropout_factors(options.drop_probability, options.seed, options.layer, static_cast<uint32_t>(step.at(0)), options.first_row,
                                      rows, columns);
  }
};

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
  if (inputs.relu) inputs.dropout = dropout.options;
  c.run([&](Run& run) {
    const auto scratch = run.workspace([&](size_t* bytes) { return duet_linear_workspace(run.context, &inputs, bytes); });
    const duet_matrix outputs = run.output("outputs", batch, out);
    run.call(duet_linear_forward(run.context, &inputs, outputs, scratch));
    const duet_matrix grad_x = run.gradient("grad_x", batch, in), grad_weight = run.gradient("grad_weight", out, in);
    run.call(duet_linear_backward(run.context, &inputs, inputs.relu ? outputs : duet_matrix{}, g.matrix(), grad_x, grad_weight,
                                  run.gradient("grad_bias", out), scratch));
  });
  c.expect([&](const Values& value) {
    const reference::Linear layer{batch, in, out, value(x), value(weight), has_bias ? value(bias) : Doubles(), inputs.output_scale};
    Doubles outputs = layer.forward(), upstream = value(g);
    // Products that underflow do so before they are scaled.
    const double lost = static_cast<double>(in) * kLeast * std::max(std::abs(double{inputs.output_scale}), 1.0);
    for (double& y : outputs) y = value.moved(y, lost);
    if (inputs.relu) {
      const Doubles factors = dropout.factors(batch, out);
      for (size_t k = 0; k < outputs.size(); ++k) {
        // A dropped element is 0 whatever it was, and passes nothing on.
        outputs[k] = factors[k] == 0 ? 0 : factors[k] * reference::activation(DUET_RELU, outputs[k]);
        const double kept = 1 / (1 - double{inputs.dropout.drop_probability});
        // The backward pass reads the outputs as float32 holds them: 0 where they underflow.
        upstream[k] = std::isnan(outputs[k]) ? outputs[k] : static_cast<float>(outputs[k]) > 0 ? upstream[k] * kept : 0;
      }
    }
    auto grad = layer.backward(upstream);
    if (c.kind == Kind::ties) {  // where equal values move alike, terms that cancel, cancel to 0: each sum is moved by the root of its squared terms
      const auto squares = [](Doubles values) {
        for (double& x : values) x *= x;
        return values;
      };
      const reference::Linear of_squares{batch, in, out, squares(layer.x), squares(layer.weight), {}, layer.scale * layer.scale};
      const auto terms = of_squares.backward(squares(upstream));
      const auto move = [&](Doubles& sums, const Doubles& squared) {
        for (size_t k = 0; k < sums.size(); ++k) sums[k] = value.moved(sums[k], std::sqrt(squared[k]), k);
      };
      move(grad.x, terms.x), move(grad.weight, terms.weight), move(grad.bias, terms.bias);
    }
    return std::vector<Expected>{{"outputs", outputs}, {"grad_x", grad.x}, {"grad_weight", grad.weight}, {"grad_bias", grad.bias}};
  });
}

void activation(Case& c) {
  const int64_t rows = c.extent(), columns = c.extent();
  Floats &x = c.rows(rows, columns), &g = c.weights(rows, columns);
  duet_activation_inputs inputs = DUET_ACTIVATION_INPUTS_INIT;
  inputs.kind = c.one_of({DUET_RELU, DUET_TANH, DUET_GELU}), inputs.x = x.matrix();
  c.run([&](Run& run) {
    run.call(duet_activation_forward(run.context, &inputs, run.output("outputs", rows, columns)));
    if (const duet_matrix grad = run.gradient("grad_x", rows, columns); grad.data)
      run.call(duet_activation_backward(run.context, &inputs, g.matrix(), grad));
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
    run.call(duet_dropout_forward(run.context, x.matrix(), &dropout.options, run.output("outputs", rows, columns)));
    if (const duet_matrix grad = run.gradient("grad_x", rows, columns); grad.data)
      run.call(duet_dropout_backward(run.context, &dropout.options, g.matrix(), grad));
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
