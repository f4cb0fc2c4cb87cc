// The epilogue of a layer's product on the CPU: outputs = dropout(relu(output_scale (product + bias))), in place and
// vectorised.
#pragma once

#include "kernels/activation/relu_dropout_cpu.h"
#include "kernels/linear/linear_backends.h"

namespace duet::cpu {

struct LinearEpilogue {
  const float* bias;  // of column 0, or null
  float scale;
  bool relu, drops, bare;  // bare: nothing follows
  DropoutDraw draw;

  explicit LinearEpilogue(const LinearInputs& inputs)
      : bias(inputs.bias.data),
        scale(inputs.output_scale),
        relu(inputs.relu),
        drops(inputs.drops()),
        bare(!bias && scale == 1 && !relu),
        draw(drops ? DropoutDraw(inputs.dropout) : DropoutDraw()) {}

  // Applies the epilogue to a part of outputs, rows x columns from (i, j) on, that holds the product.
  void apply(Matrix<float> outputs, int64_t i, int64_t rows, int64_t j, int64_t columns) const;
  // Computes the gradient before ReLU and dropout of a run of elements, from the outputs and their gradient.
  void gate(const float* outputs, const float* grad_outputs, float* gated, int64_t count) const;
};

}  // namespace duet::cpu
