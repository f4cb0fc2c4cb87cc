#include "kernels/cpu/sweep.h"

namespace duet::cpu {

void BlockGradients::Operand::pack(const duet_context& context, int64_t first_row, int64_t row_count) {
  if (first == first_row && count == row_count) return;
  first = first_row;
  count = row_count;
  packed = pack_columns(context, rows.part(first, 0, count, rows.columns), storage, factor);
}

BlockGradients::BlockGradients(Workspace& workspace, int64_t block_rows, int64_t block_columns, int64_t d)
    : a_{workspace.take<float>(packed_columns_size(block_rows, d)), {}, 1, {}, 0, 0},
      v_{workspace.take<float>(packed_columns_size(block_columns, d)), {}, 1, {}, 0, 0} {}

void BlockGradients::begin(Matrix<const float> a, Matrix<const float> v, Matrix<float> grad_a, Matrix<float> grad_v,
                           float factor_a, float factor_v) {
  a_.rows = a;
  v_.rows = v;
  v_.factor = factor_a;
  a_.factor = factor_v;
  a_.count = v_.count = 0;
  grad_a_ = factor_a == 0 ? Matrix<float>{} : grad_a;
  grad_v_ = factor_v == 0 ? Matrix<float>{} : grad_v;
}

void BlockGradients::add(const duet_context& context, const Block& block, Matrix<const float> g) {
  if (grad_a_) v_.pack(context, block.first_column, block.columns);
  if (grad_v_) a_.pack(context, block.first_row, block.rows);
  // Work items of at most 64 rows of a gradient: a training batch of 128 still gives two threads something each.
  constexpr int64_t kRows = 64;
  const int64_t row_items = grad_a_ ? ceil_div(block.rows, kRows) : 0,
                column_items = grad_v_ ? ceil_div(block.columns, kRows) : 0;
  parallel_for(context, row_items + column_items, [&](int64_t item, int) {
    if (item < row_items) {
      const int64_t r = item * kRows, rows = std::min(kRows, block.rows - r);
      add_product_nn(g.part(r, 0, rows, block.columns), v_.packed, 0,
                     grad_a_.part(block.first_row + r, 0, rows, grad_a_.columns));
    } else {
      const int64_t c = (item - row_items) * kRows, columns = std::min(kRows, block.columns - c);
      add_product_tn(g.part(0, c, block.rows, columns), a_.packed, 0,
                     grad_v_.part(block.first_column + c, 0, columns, grad_v_.columns));
    }
  });
}

}  // namespace duet::cpu
