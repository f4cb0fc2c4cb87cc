// The gradient of a layer's weights: a product summed over the rows of a batch, in the order of row_tree.h. An
// element's bits depend on its two columns alone.
#pragma once

#include "kernels/core/check.h"

namespace duet::cpu {

// Sides of one sum: a block of it is 16 rows of the first, then the same rows of the second, and so on, in one chain.
inline constexpr int kMostRowPairs = 4;
struct RowPair {
  Matrix<const float> g, v;  // B x r, B x c
};

// Floats of scratch, whole cache lines, for batches of `rows` rows and gradients of at most out_rows x out_columns.
int64_t row_product_scratch(int64_t rows, int pairs, int64_t out_rows, int64_t out_columns);

// out (r x c) += the sum over pairs of g^T v, all pairs of as many rows. The factor multiplies the sum of a block.
// count: 1 to kMostRowPairs. scratch is aligned to 64 bytes.
void add_row_product(const RowPair* pairs, int count, float factor, float* scratch, Matrix<float> out);

}  // namespace duet::cpu
