#include "kernels/cpu/sweep.h"

namespace duet::cpu {

BlockGradients::BlockGradients(Workspace& workspace, int64_t n, int64_t m, int64_t d)
    : storage_a_(workspace.take<float>(packed_columns_size(n, d))), storage_v_(workspace.take<float>(packed_columns_size(m, d))) {}

void BlockGradients::begin(const duet_context& context, Matrix<const float> a, Matrix<const float> v, Matrix<float> grad_a, Matrix<float> grad_v) {
  grad_a_ = grad_a;
  grad_v_ = grad_v;
  if (grad_a) v_ = pack_columns(context, v, storage_v_);
  if (grad_v) a_ = pack_columns(context, a, storage_a_);
}

void BlockGradients::add(const duet_context& context, const Block& block, Matrix<const float> g) const {
  // Work items of at most 64 rows of a gradient: a training batch of 128 still gives two threads something each.
  constexpr int64_t kRows = 64;
  const int64_t row_items = grad_a_ ? ceil_div(block.rows, kRows) : 0, column_items = grad_v_ ? ceil_div(block.columns, kRows) : 0;
  parallel_for(context, row_items + column_items, [&](int64_t item, int) {
    if (item < row_items) {
      const int64_t r = item * kRows, rows = std::min(kRows, block.rows - r);
      add_product_nn(g.part(r, 0, rows, block.columns), v_, block.first_column, grad_a_.part(block.first_row + r, 0, rows, grad_a_.columns));
    } else {
      const int64_t c = (item - row_items) * kRows, columns = std::min(kRows, block.columns - c);
      add_product_tn(g.part(0, c, block.rows, columns), a_, block.first_row, grad_v_.part(block.first_column + c, 0, columns, grad_v_.columns));
    }
  });
}

}  // namespace duet::cpu
