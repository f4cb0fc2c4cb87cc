// The gradient of a layer's weights: a product summed over the rows of a batch, in the order of row_tree.h. An
// element's bits depend on its two columns alone.
#pragma once

#include "kernels/core/check.h"
#include "kernels/cpu/row_tree.h"

namespace duet::cpu {

// Sides of one sum: a block of it is 16 rows of the first, then the same rows of the second, and so on, in one chain.
inline constexpr int kMostRowPairs = 4;
struct RowPair {
  Matrix<const float> g, v;  // B x r, B x c
};

// Floats of scratch, whole cache lines, for batches of `rows` rows and gradients of at most out_rows x out_columns.
// differences: for add_row_differences as well.
int64_t row_product_scratch(int64_t rows, int pairs, int64_t out_rows, int64_t out_columns, bool differences = false);

// What becomes of a sum that is a node of a longer one, of rows that come block after block: nodes of `step`'s tree
// wait, level l at nodes + l * level_size, each row_leaf_size(r, c) floats.
struct RowLeaf {
  TreeStep step{0, 1};
  float* nodes = nullptr;
  int64_t level_size = 0;
};
int64_t row_leaf_size(int64_t out_rows, int64_t out_columns);

// out (r x c) += the sum over pairs of g^T v, all pairs of as many rows; with a leaf the longer sum, after its last
// rows. The factor multiplies the sum of a block. count: 1 to kMostRowPairs. scratch is aligned to 64 bytes.
void add_row_product(const RowPair* pairs, int count, float factor, float* scratch, Matrix<float> out,
                     const RowLeaf& leaf = {});

// Likewise out_j += the sum over the rows i of g_ij (v_i - from_j), from (r x c): from a block's sum of g_ij v_i, its
// sum of g_ij, formed in float64 and rounded once, times from_j is subtracted.
void add_row_differences(const RowPair& pair, Matrix<const float> from, float factor, float* scratch, Matrix<float> out,
                         const RowLeaf& leaf = {});

}  // namespace duet::cpu
