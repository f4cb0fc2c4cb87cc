#include "runtime/module.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace duet {
namespace {

double start_bound(int64_t inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); }

}  // namespace

Linear::Linear(ParameterStore& store, const std::string& name, int64_t inputs, int64_t outputs)
    : weight_(store.add_uniform(name + ".weight", {outputs, inputs}, start_bound(inputs))),
      bias_(store.add_uniform(name + ".bias", {outputs}, start_bound(inputs))) {}

Tensor Linear::forward(Tape& tape, const ParameterView& parameters, const Tensor& x) const {
  return ops::linear(tape, x, parameters[weight_], parameters[bias_]);
}

Tensor Linear::forward_relu(Tape& tape, const ParameterView& parameters, const Tensor& x,
                            const ops::Dropout& dropout) const {
  return ops::linear_relu(tape, x, parameters[weight_], parameters[bias_], dropout);
}

LayerNorm::LayerNorm(ParameterStore& store, const std::string& name, int64_t width)
    : gain_(store.add_constant(name + ".gain", {width}, 1)),
      offset_(store.add_constant(name + ".offset", {width}, 0)) {}

Tensor LayerNorm::forward(Tape& tape, const ParameterView& parameters, const Tensor& x) const {
  return ops::layer_norm(tape, x, parameters[gain_], parameters[offset_]);
}

Tensor LayerNorm::forward(Tape& tape, const ParameterView& parameters, const Tensor& x, duet_activation_kind activation,
                          const ops::Dropout& dropout) const {
  return ops::layer_norm(tape, x, parameters[gain_], parameters[offset_], activation, dropout);
}

LearnedScale::LearnedScale(ParameterStore& store, const std::string& name, double start)
    : number_(store.add_bounded(name, std::log(start), std::log(kLeast), std::log(kMost))) {}

Tensor LearnedScale::forward(Tape& tape, const ParameterView& parameters) const {
  const Tensor logarithm = parameters[number_];
  const Tensor scale = tape.make(1);
  succeed(duet_step_scale_forward(tape.context(), sized<duet_step_scale_inputs>({.logarithm = logarithm.vector()}),
                                  sized<duet_step_scale_outputs>({.scale = scale.vector()})));
  return tape.record(scale, {logarithm}, [=](Tape& tape, const Tensor& output) {
    succeed(duet_step_scale_backward(tape.context(), sized<duet_step_scale_inputs>({}),
                                     sized<duet_step_scale_gradients>({.scale = output.vector(),
                                                                       .grad_scale = output.grad_vector(),
                                                                       .grad_logarithm = logarithm.grad_vector()})));
  });
}

void LearnedScale::set(ParameterStore& store, ParameterKind kind, double scale) const {
  require(scale > 0, "learned scale: expected a number above 0, got ", scale);
  std::vector<float> values = store.read(kind);
  values[static_cast<size_t>(store.parameter(number_).offset)] =
      static_cast<float>(std::clamp(std::log(scale), std::log(kLeast), std::log(kMost)));
  store.write(kind, values);
}

Mlp::Mlp(ParameterStore& store, const std::string& name, const MlpOptions& options, uint32_t first_dropout_layer)
    : activation_(options.activation),
      drop_probability_(options.drop_probability),
      first_dropout_layer_(first_dropout_layer) {
  require(options.drop_probability >= 0 && options.drop_probability < 1, name,
          ": expected a drop probability in [0, 1), got ", options.drop_probability);
  int64_t width = options.inputs;
  for (size_t layer = 0; layer < options.hidden.size(); ++layer) {
    layers_.emplace_back(store, text(name, ".layer", layer), width, options.hidden[layer]);
    width = options.hidden[layer];
    if (options.layer_norm) norms_.emplace_back(store, text(name, ".norm", layer), width);
  }
  layers_.emplace_back(store, text(name, ".layer", options.hidden.size()), width, options.outputs);
}

Tensor Mlp::forward(Tape& tape, const ParameterView& parameters, Tensor x, const Mode& mode) const {
  for (size_t layer = 0; layer + 1 < layers_.size(); ++layer) {
    ops::Dropout dropout;
    if (mode.training)
      dropout = {drop_probability_, first_dropout_layer_ + static_cast<uint32_t>(layer), mode.seed, mode.step,
                 mode.first_row};
    if (activation_ == DUET_ACTIVATION_KIND_RELU && norms_.empty()) {
      x = layers_[layer].forward_relu(tape, parameters, x, dropout);
      continue;
    }
    x = layers_[layer].forward(tape, parameters, x);
    if (!norms_.empty()) {
      x = norms_[layer].forward(tape, parameters, x, activation_, dropout);
      continue;
    }
    x = ops::activation(tape, x, activation_);
    if (dropout.drop_probability > 0) x = ops::dropout(tape, x, dropout);
  }
  return layers_.back().forward(tape, parameters, x);
}

EncoderPair::EncoderPair(ParameterStore& store, const MlpOptions& a, const MlpOptions& v)
    : a_(store, "encoder_a", a), v_(store, "encoder_v", v, static_cast<uint32_t>(a.hidden.size())) {
  require(a.outputs == v.outputs, "encoders: expected outputs of one size, got ", a.outputs, " and ", v.outputs);
}

Tensor EncoderPair::outputs_a(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const {
  return a_.forward(tape, parameters, x, mode);
}

Tensor EncoderPair::outputs_v(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const {
  return v_.forward(tape, parameters, x, mode);
}

Tensor EncoderPair::forward_a(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const {
  return ops::unit_rows(tape, outputs_a(tape, parameters, x, mode));
}

Tensor EncoderPair::forward_v(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const {
  return ops::unit_rows(tape, outputs_v(tape, parameters, x, mode));
}

Classifier::Classifier(ParameterStore& store, const std::string& name, int64_t inputs, int64_t classes,
                       float output_scale)
    : weight_(store.add_uniform(name + ".weight", {classes, inputs}, start_bound(inputs))),
      bias_(store.add_uniform(name + ".bias", {classes}, start_bound(inputs))),
      output_scale_(output_scale) {}

std::span<const ops::Head> Classifier::forward(Tape& tape, const ParameterView& parameters,
                                               std::initializer_list<Tensor> x) const {
  return ops::head(tape, x, parameters[weight_], parameters[bias_], output_scale_);
}

}  // namespace duet
