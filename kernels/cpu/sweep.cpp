#include "kernels/cpu/sweep.h"

#include "kernels/cpu/product.h"

namespace duet::cpu {

void add_block_gradients(const duet_context& context, const Block& block, Matrix<const float> g, Matrix<const float> a, Matrix<const float> v,
                         Matrix<float> grad_a, Matrix<float> grad_v) {
  // Work items of at most 64 rows of a gradient: a training batch of 128 still gives two threads something each.
  constexpr int64_t kRows = 64;
  const int64_t row_items = grad_a ? ceil_div(block.rows, kRows) : 0, column_items = grad_v ? ceil_div(block.columns, kRows) : 0;
  parallel_for(context, row_items + column_items, [&](int64_t item, int) {
    if (item < row_items) {
      const int64_t r = item * kRows, rows = std::min(kRows, block.rows - r);
      product_nn(1, g.part(r, 0, rows, block.columns), v.part(block.first_column, 0, block.columns, v.columns), 1,
                 grad_a.part(block.first_row + r, 0, rows, grad_a.columns));
    } else {
      const int64_t c = (item - row_items) * kRows, columns = std::min(kRows, block.columns - c);
      product_tn(1, g.part(0, c, block.rows, columns), a.part(block.first_row, 0, block.rows, a.columns), 1,
                 grad_v.part(block.first_column + c, 0, columns, grad_v.columns));
    }
  });
}

}  // namespace duet::cpu
