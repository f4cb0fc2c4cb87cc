// Modules: which parameters there are and which operations run over them. They own nothing; the store has the values,
// the tape the step.
// The same module reads the student (with gradients) or the teacher (without), as the ParameterView says.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "runtime/ops.h"
#include "runtime/parameters.h"
#include "runtime/tape.h"
#include "runtime/tensor.h"

namespace duet {

// Training drops units, evaluation does not.
struct Mode {
  bool training = false;
  uint64_t seed = 0;      // of the dropout draws
  Step step;              // of the dropout draws; must not move between forward and backward
  int64_t first_row = 0;  // global index of the batch's first row

  static Mode evaluation() { return {}; }
  static Mode train(uint64_t seed, Step step, int64_t first_row = 0) { return {true, seed, step, first_row}; }
};

// x weight^T + bias. Parameters "<name>.weight" (outputs x inputs) and "<name>.bias", both from U(+-1/sqrt(inputs)).
class Linear {
 public:
  Linear(ParameterStore& store, const std::string& name, int64_t inputs, int64_t outputs);
  Tensor forward(Tape& tape, const ParameterView& parameters, const Tensor& x) const;
  // dropout(relu(x weight^T + bias)).
  Tensor forward_relu(Tape& tape, const ParameterView& parameters, const Tensor& x, const ops::Dropout& dropout) const;

 private:
  int64_t weight_, bias_;
};

// gain (x - mean) / deviation + offset over each row. Parameters "<name>.gain", from 1, and "<name>.offset", from 0.
class LayerNorm {
 public:
  LayerNorm(ParameterStore& store, const std::string& name, int64_t width);
  Tensor forward(Tape& tape, const ParameterView& parameters, const Tensor& x) const;
  // dropout(activation(what forward() gives)).
  Tensor forward(Tape& tape, const ParameterView& parameters, const Tensor& x, duet_activation_kind activation,
                 const ops::Dropout& dropout) const;

 private:
  int64_t gain_, offset_;
};

// The scale 1/tau of a loss, learned by its logarithm (METHOD.md 4): the parameter "<name>" of shape 1 holds ln(1/tau),
// in [ln kLeast, ln kMost].
class LearnedScale {
 public:
  static constexpr double kLeast = 0.1, kMost = 1000;

  LearnedScale(ParameterStore& store, const std::string& name, double start);
  Tensor forward(Tape& tape, const ParameterView& parameters) const;
  // Makes one kind of the parameter say this scale, above 0.
  void set(ParameterStore& store, ParameterKind kind, double scale) const;

 private:
  int64_t number_;
};

struct MlpOptions {
  int64_t inputs = 0;
  std::vector<int64_t> hidden = {256, 256};
  int64_t outputs = 64;
  duet_activation_kind activation = DUET_ACTIVATION_KIND_RELU;
  float drop_probability = 0.2f;
  bool layer_norm = false;
};

// For each hidden width: Linear, LayerNorm if asked for, activation, dropout; then Linear to the outputs (METHOD.md
// 6.1).
// Names: "<name>.layer0.weight", "<name>.layer0.bias", "<name>.norm0.gain", ...; the last Linear is layer number
// hidden.size().
class Mlp {
 public:
  // first_dropout_layer: the number of its first dropout in stream 5; it uses hidden.size() of them.
  Mlp(ParameterStore& store, const std::string& name, const MlpOptions& options, uint32_t first_dropout_layer = 0);
  Tensor forward(Tape& tape, const ParameterView& parameters, Tensor x, const Mode& mode) const;

 private:
  std::vector<Linear> layers_;
  std::vector<LayerNorm> norms_;
  duet_activation_kind activation_;
  float drop_probability_;
  uint32_t first_dropout_layer_;
};

// Two encoders into one space: an Mlp each ("encoder_a", "encoder_v"), whose output rows, scaled to norm 1, are the
// embeddings. Their dropout layers are distinct.
class EncoderPair {
 public:
  EncoderPair(ParameterStore& store, const MlpOptions& a, const MlpOptions& v);
  // The outputs, as a classifier takes them.
  Tensor outputs_a(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const;
  Tensor outputs_v(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const;
  // The embeddings alone.
  Tensor forward_a(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const;
  Tensor forward_v(Tape& tape, const ParameterView& parameters, const Tensor& x, const Mode& mode) const;

 private:
  Mlp a_, v_;
};

// The classifier that both sides share: of an encoder's outputs x the embeddings u, x scaled to norm 1 by rows, and
// logits = output_scale (W u + b) (METHOD.md 6.1). Parameters "<name>.weight" (classes x inputs) and "<name>.bias",
// both from U(+-1/sqrt(inputs)).
class Classifier {
 public:
  Classifier(ParameterStore& store, const std::string& name, int64_t inputs, int64_t classes, float output_scale = 10);
  // Of the outputs of 1 to DUET_HEAD_MODALITIES encoders, in one call each way.
  std::span<const ops::Head> forward(Tape& tape, const ParameterView& parameters,
                                     std::initializer_list<Tensor> x) const;

 private:
  int64_t weight_, bias_;
  float output_scale_;
};

}  // namespace duet
