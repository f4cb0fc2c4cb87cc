// A thread owns four neighbouring elements of ReLU and dropout; a block owns a run of columns of grad_bias.
// Bytes beside the products: 8 an output element forward, 12 backward, 4 for grad_bias.
// Products: one forward, two backward, by cuBLASLt (kernels/cuda/dense.h).
#include "kernels/activation/relu_dropout_cuda.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/dense.h"
#include "kernels/linear/linear_backends.h"
#include "kernels/linear/linear_small_cuda.h"

namespace duet::cuda {
namespace {

using Operand = DenseProduct::Operand;

struct Scale {
  float factor;
  const float* from;
  float* to;

  template <int kWidth>
  __device__ void at(int64_t, int64_t j) const {
    Pack<kWidth> value = load<kWidth>(from + j);
    for (int k = 0; k < kWidth; ++k) value.at[k] *= factor;
    store(to + j, value);
  }
};

// The output of a layer without inputs.
struct FillWithBias {
  float factor;
  Vector<const float> bias;
  Matrix<float> outputs;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    for (int k = 0; k < kWidth; ++k) outputs.row(i)[j + k] = bias ? factor * bias[j + k] : 0;
  }
};

// ReLU, and dropout where there is one, in place.
template <bool kDrops>
struct Activate {
  Drop drop;
  Matrix<float> outputs;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    Pack<kWidth> value = load<kWidth>(outputs.row(i) + j);
    DUET_UNROLL
    for (int k = 0; k < kWidth; ++k) value.at[k] = Relu::value(value.at[k]);
    if constexpr (kDrops) drop.apply(i, j, value);
    store(outputs.row(i) + j, value);
  }
};

void activate(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs) {
  if (!inputs.relu) return;
  const Drop drop(inputs.dropout, outputs.columns);
  const auto run = [&](const auto& body) {
    for_each_element(context, outputs.rows, outputs.columns, contiguous(outputs), aligned(outputs), body);
  };
  inputs.drops() ? run(Activate<true>{drop, outputs}) : run(Activate<false>{drop, outputs});
}

// The gradient before ReLU and dropout.
struct Gate {
  Matrix<const float> outputs, grad_outputs;
  float keep_probability;
  Matrix<float> gated;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    const Pack<kWidth> y = load<kWidth>(outputs.row(i) + j);
    Pack<kWidth> value = load<kWidth>(grad_outputs.row(i) + j);
    DUET_UNROLL
    for (int k = 0; k < kWidth; ++k) value.at[k] = Relu::where_positive(y.at[k], value.at[k] / keep_probability);
    store(gated.row(i) + j, value);
  }
};

struct Upstream {
  Matrix<const float> grad_outputs;

  __device__ ColumnTerms<1> operator()(int64_t i, int64_t j) const { return {{double{grad_outputs.row(i)[j]}}}; }
};
struct AddBias {
  float factor;
  float* grad_bias;

  __device__ void operator()(int64_t j, const ColumnTerms<1>& sums) const {
    grad_bias[j] = static_cast<float>(grad_bias[j] + factor * sums.at[0]);
  }
};

struct Scratch {
  ColumnRuns cut;
  char* dense;
  Matrix<float> gated;  // B x out, as aligned as the workspace
  float* bias;
  double* partials;

  Scratch(const LinearInputs& inputs, Workspace& workspace)
      : cut(inputs.x.rows, inputs.weight.rows),
        dense(workspace.take<char>(static_cast<int64_t>(dense_workspace()))),
        gated(workspace.take_matrix<float>(inputs.relu ? inputs.x.rows : 0, inputs.weight.rows)),
        bias(workspace.take<float>(inputs.weight.rows)),
        partials(workspace.take<double>(cut.partials(1))) {}
};

}  // namespace

size_t linear_workspace(const duet_context&, const LinearInputs& inputs) {
  Workspace measure;
  Scratch(inputs, measure);
  return measure.used();
}

void linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs,
                    Workspace workspace) {
  const float scale = inputs.output_scale;
  if (outputs.rows == 0 || outputs.columns == 0) return;
  if (fits_small(context, inputs)) return small_linear_forward(context, inputs, outputs);
  if (inputs.x.columns == 0) {
    for_each_element(context, outputs.rows, outputs.columns, false, false, FillWithBias{scale, inputs.bias, outputs});
    return activate(context, inputs, outputs);
  }
  const Scratch scratch(inputs, workspace);
  Vector<const float> bias = inputs.bias;
  if (bias && scale != 1) {
    for_each_element(context, 1, bias.size, true, aligned(bias.data), Scale{scale, bias.data, scratch.bias});
    bias.data = scratch.bias;
  }
  dense_product(context, {scale, inputs.x, Operand::as_it_is, inputs.weight, Operand::transposed, 0, outputs, bias},
                scratch.dense);
  activate(context, inputs, outputs);
}

void linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> outputs,
                     Matrix<const float> grad_outputs, const LinearGradients& gradients, Workspace workspace) {
  const float scale = inputs.output_scale;
  if (grad_outputs.rows == 0 || grad_outputs.columns == 0) return;
  if (fits_small(context, inputs)) return small_linear_backward(context, inputs, outputs, grad_outputs, gradients);
  const Scratch scratch(inputs, workspace);
  if (inputs.relu) {
    const Gate gate{outputs, grad_outputs, 1.0f - inputs.dropout.drop_probability, scratch.gated};
    for_each_element(context, outputs.rows, outputs.columns, contiguous(outputs) && contiguous(grad_outputs),
                     aligned(outputs) && aligned(grad_outputs) && aligned(scratch.gated), gate);
    grad_outputs = scratch.gated;
  }
  if (inputs.x.columns > 0 && gradients.weight)
    dense_product(context,
                  {scale, grad_outputs, Operand::transposed, inputs.x, Operand::as_it_is, 1, gradients.weight, {}},
                  scratch.dense);
  if (inputs.x.columns > 0 && gradients.x)
    dense_product(context,
                  {scale, grad_outputs, Operand::as_it_is, inputs.weight, Operand::as_it_is, 1, gradients.x, {}},
                  scratch.dense);
  if (gradients.bias)
    column_sums<1>(context, scratch.cut, Upstream{grad_outputs}, AddBias{scale, gradients.bias.data}, scratch.partials);
}

}  // namespace duet::cuda
