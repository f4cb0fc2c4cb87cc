// The gradients of a layer's weight and bias on the CPU: sums over the rows of the batch, in the order of
// kernels/cpu/row_tree.h, and of all sides where several share the layer (head).
#pragma once

#include "kernels/cpu/row_product.h"
#include "kernels/linear/linear_items_cpu.h"

namespace duet::cpu {

class LinearParameters {
 public:
  // sides: of each grad_outputs (B x out) and x (B x in). weight: out x in, or null. bias: out, or null. Adds
  // scale grad_outputs^T x and scale times the columns' sums.
  LinearParameters(const RowPair* sides, int count, float scale, Matrix<float> weight, Vector<float> bias);

  // Floats, whole cache lines, that the items of a thread need, aligned to 64 bytes.
  static int64_t scratch(int64_t rows, int sides, int64_t out, int64_t in);

  int64_t items() const { return parts_.count() + bias_items_; }
  void add(int64_t item, float* scratch) const;

 private:
  void add_bias(int64_t first, int64_t count) const;

  const RowPair* sides_;
  int count_;
  float scale_;
  Matrix<float> weight_;
  Vector<float> bias_;
  LayerItems parts_;
  int64_t bias_items_;
};

}  // namespace duet::cpu
