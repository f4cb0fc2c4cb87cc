#include "kernels/cpu/sweep.h"

#include "kernels/cpu/row_product.h"

namespace duet::cpu {
namespace {

// Rows of grad_a in a work item, at most: a training batch of 128 still gives two threads something each. An item of
// grad_v packs the block's rows of a for itself, so it has as many rows as give each thread an item, within bounds. No
// element's sum depends on the item that it is in.
constexpr int64_t kItemRows = 64, kMostItemRows = 256;
int64_t column_item_rows(const duet_context& context, int64_t block_columns) {
  return std::clamp(ceil_div(block_columns, context.threads), kItemRows, kMostItemRows);
}

}  // namespace

float SlotSum::value() const {
  float nodes[kMostTreeLevels], sum = 0;
  for (int64_t k = 0; k < count_; ++k) {
    sum = static_cast<float>(tiles_[k]);
    add_leaf(TreeStep(k, count_), &sum, 1, nodes);
  }
  return sum;
}

BlockGradients::BlockGradients(Workspace& workspace, const duet_context& context, int64_t n, int64_t block_rows,
                               int64_t block_columns, int64_t d, bool differences)
    : differences_(differences),
      block_rows_(block_rows),
      blocks_(block_rows == 0 ? 0 : ceil_div(n, block_rows)),
      item_rows_(column_item_rows(context, block_columns)),
      scratch_size_(row_product_scratch(block_rows, 1, std::min(item_rows_, block_columns), d, differences)),
      node_size_(row_leaf_size(block_columns, d)),
      packed_v_(workspace.take<float>(packed_columns_size(block_columns, d))),
      scratch_(workspace.take<float>(context.threads * scratch_size_)),
      nodes_(workspace.take<float>(tree_levels(blocks_) * node_size_)) {}

void BlockGradients::begin(Matrix<const float> a, Matrix<const float> v, Matrix<float> grad_a, Matrix<float> grad_v,
                           float factor_a, float factor_v) {
  a_ = a;
  v_ = v;
  factor_a_ = factor_a;
  factor_v_ = factor_v;
  grad_a_ = factor_a == 0 ? Matrix<float>{} : grad_a;
  grad_v_ = factor_v == 0 ? Matrix<float>{} : grad_v;
}

// The block's columns first to first + count - 1.
void BlockGradients::add_columns(const Block& block, Matrix<const float> g, int64_t first, int64_t count,
                                 int thread) const {
  const int64_t d = a_.columns;
  float* const scratch = scratch_ + thread * scratch_size_;
  const RowPair pair{g.part(0, first, block.rows, count), a_.part(block.first_row, 0, block.rows, d)};
  const RowLeaf leaf{TreeStep(block.first_row / block_rows_, blocks_), nodes_ + row_leaf_size(first, d), node_size_};
  const auto part = [&](auto of) { return of.part(block.first_column + first, 0, count, d); };
  if (differences_)
    add_row_differences(pair, part(v_), factor_v_, scratch, part(grad_v_), leaf);
  else
    add_row_product(&pair, 1, factor_v_, scratch, part(grad_v_), leaf);
}

void BlockGradients::add(const duet_context& context, const Block& block, Matrix<const float> g) {
  if (grad_a_ && block.first_row == 0)
    packed_ = pack_columns(context, v_.part(block.first_column, 0, block.columns, v_.columns), packed_v_, factor_a_);
  const int64_t row_items = grad_a_ ? ceil_div(block.rows, kItemRows) : 0,
                column_items = grad_v_ ? ceil_div(block.columns, item_rows_) : 0;
  parallel_for(context, row_items + column_items, [&](int64_t item, int thread) {
    if (item < row_items) {
      const int64_t r = item * kItemRows, rows = std::min(kItemRows, block.rows - r);
      add_product_nn(g.part(r, 0, rows, block.columns), packed_, 0,
                     grad_a_.part(block.first_row + r, 0, rows, grad_a_.columns));
    } else {
      const int64_t c = (item - row_items) * item_rows_;
      add_columns(block, g, c, std::min(item_rows_, block.columns - c), thread);
    }
  });
}

}  // namespace duet::cpu
