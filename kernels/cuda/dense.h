// Products of the dense layers, row-major: cuBLASLt on a device (dense_cublas.cpp), plain loops in the emulator
// (simt/dense_plain.cpp).
#pragma once

#include "kernels/core/check.h"
#include "kernels/core/dispatch.h"

namespace duet::cuda {

// out = alpha op(x) op(y) + beta out + bias in every row. op is the transpose where asked for; beta = 0 does not read
// out; bias, as long as a row of out, or null. Neither out nor what is summed over is empty.
struct DenseProduct {
  enum class Operand { as_it_is, transposed };
  float alpha;
  Matrix<const float> x;
  Operand x_is;
  Matrix<const float> y;
  Operand y_is;
  float beta;
  Matrix<float> out;
  Vector<const float> bias;

  int64_t summed() const { return x_is == Operand::as_it_is ? x.columns : x.rows; }
};

// Scratch of any one product, in bytes.
size_t dense_workspace();
// In the context's precision: fp32 and tf32x3 multiply in float32, tf32 and bf16 round the operands; sums are float32.
// Same inputs, same bits.
void dense_product(const duet_context& context, const DenseProduct& product, void* workspace);

}  // namespace duet::cuda
