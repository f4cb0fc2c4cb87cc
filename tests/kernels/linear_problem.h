// A dense layer for tests: its arrays, its reference, and how far float32 may be off.
#pragma once

#include "tests/kernels/row_tree_parts.h"
#include "tests/reference/linear.h"
#include "tests/support/arrays.h"
#include "tests/support/compare.h"

namespace duet::test::linear {

struct Case {
  int64_t batch, in, out, padding;
  bool bias;
  float scale;
};
template <class T>
std::vector<T> as(const Doubles& values) {
  return std::vector<T>(values.begin(), values.end());
}

struct Problem {
  Floats x, weight, bias;
  Case shape;

  explicit Problem(const Case& given, Draw draw = Draw(1))
      : x(draw.normals(given.batch, given.in, 1, given.padding)),
        weight(draw.normals(given.out, given.in, 0.1, given.padding)),
        bias(draw.normals(given.out, 1)),
        shape(given) {}
  duet_linear_inputs inputs() {
    duet_linear_inputs inputs = DUET_LINEAR_INPUTS_INIT;
    inputs.x = x.matrix();
    inputs.weight = weight.matrix();
    if (shape.bias) inputs.bias = bias.vector();
    inputs.output_scale = shape.scale;
    return inputs;
  }
  template <class T>
  duet::reference::LinearOf<T> reference() const {
    return {shape.batch,
            shape.in,
            shape.out,
            as<T>(x.values()),
            as<T>(weight.values()),
            shape.bias ? as<T>(bias.values()) : std::vector<T>(),
            shape.scale};
  }
};

inline Scratch scratch_for(duet_context* context, const duet_linear_inputs& inputs) {
  size_t bytes = 0;
  SUCCEED_CALL(duet_linear_workspace(context, &inputs, &bytes));
  return Scratch(bytes);
}

// Twice the error of the naive float32 loops, and an ulp of the largest entry for the addition to what was there.
inline double tolerance(const Doubles& expected, const std::vector<float>& naive) {
  double worst = 0;
  for (size_t k = 0; k < expected.size(); ++k) worst = std::max(worst, std::abs(naive[k] - expected[k]));
  return 2 * worst + 1.2e-7 * std::max(largest(expected), 4.0);
}

inline Doubles plus(Doubles a, const Doubles& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

struct DropoutOf {
  Longs step{1, 1};
  duet_dropout_options options = DUET_DROPOUT_OPTIONS_INIT;

  DropoutOf(float probability, int64_t first_row) {
    step.fill(9);
    options.drop_probability = probability, options.layer = 3, options.seed = 77, options.first_row = first_row;
    if (probability > 0) options.step = step.vector();
  }
};

}  // namespace duet::test::linear
