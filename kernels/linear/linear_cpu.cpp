#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/product.h"
#include "kernels/linear/linear_backends.h"

namespace duet::cpu {
namespace {

// Below this a product takes about 20 us on one core, and handing out its tiles to a second one gains nothing.
constexpr double kSmall = 2e6;    // floating-point operations
constexpr double kLarge = 2.5e8;  // from here on there is work for more than four threads

// The tiles of one product out (rows x columns): 256 x 256, halved until there is enough for several threads. 64 x 64 stays the least: there
// the packing of the operands begins to cost (128 x 256 x 1024 on one core: 0.78 ms whole, 0.82 in 128 x 64, 0.97 in 64 x 64, 1.3 in 32 x 64).
struct Tiling {
  int64_t rows, columns, tile_rows, tile_columns;

  Tiling(int64_t rows_, int64_t columns_, int64_t k) : rows(rows_), columns(columns_) {
    const double operations = 2.0 * static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(k);
    const int64_t wanted = operations < kSmall ? 1 : operations < kLarge ? 4 : 8;
    tile_rows = operations < kSmall ? rows : std::min<int64_t>(rows, 256);
    tile_columns = operations < kSmall ? columns : std::min<int64_t>(columns, 256);
    while (count() < wanted && std::max(tile_rows, tile_columns) > 64) {
      int64_t& longer = tile_columns >= tile_rows ? tile_columns : tile_rows;
      longer = std::max<int64_t>(64, (longer / 2 + 15) / 16 * 16);
    }
  }
  int64_t across() const { return columns ? ceil_div(columns, tile_columns) : 0; }
  int64_t count() const { return rows ? ceil_div(rows, tile_rows) * across() : 0; }

  // body(first_row, rows, first_column, columns) of one tile.
  template <class Body>
  void visit(int64_t item, Body&& body) const {
    const int64_t i = item / across() * tile_rows, j = item % across() * tile_columns;
    body(i, std::min(tile_rows, rows - i), j, std::min(tile_columns, columns - j));
  }
};

// grad_bias[j] += scale sum_i g_ij for a run of columns: the sum over the batch in float64, rows in order.
constexpr int64_t kBiasColumns = 64;

void add_column_sums(Matrix<const float> g, int64_t first, int64_t count, float scale, Vector<float> grad_bias) {
  double sums[kBiasColumns] = {};
  for (int64_t i = 0; i < g.rows; ++i) {
    const float* row = g.row(i) + first;
    for (int64_t j = 0; j < count; ++j) sums[j] += row[j];
  }
  for (int64_t j = 0; j < count; ++j) grad_bias[first + j] = static_cast<float>(grad_bias[first + j] + scale * sums[j]);
}

}  // namespace

void linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs) {
  const float scale = inputs.output_scale;
  const int64_t k = inputs.x.columns;
  const Tiling tiles(outputs.rows, outputs.columns, k);
  // The bias is written first and the product added to it: BLAS would clear the tile otherwise, so this costs nothing.
  parallel_for(context, tiles.count(), [&](int64_t item, int) {
    tiles.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      const Matrix<float> tile = outputs.part(i, j, rows, columns);
      for (int64_t r = 0; inputs.bias && r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) tile.row(r)[c] = scale * inputs.bias[j + c];
      product_nt(scale, inputs.x.part(i, 0, rows, k), inputs.weight.part(j, 0, columns, k), inputs.bias ? 1 : 0, tile);
    });
  });
}

void linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> grad_outputs, const LinearGradients& gradients) {
  const float scale = inputs.output_scale;
  const int64_t batch = inputs.x.rows, in = inputs.x.columns, out = inputs.weight.rows;
  if (batch == 0) return;
  const Tiling x_tiles(gradients.x ? batch : 0, in, out), weight_tiles(gradients.weight ? out : 0, in, batch);
  const int64_t x_items = x_tiles.count(), weight_items = weight_tiles.count();
  const int64_t bias_items = gradients.bias ? ceil_div(out, kBiasColumns) : 0;

  const auto body = [&](int64_t item, int) {
    if (item < weight_items) {
      weight_tiles.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
        product_tn(scale, grad_outputs.part(0, i, batch, rows), inputs.x.part(0, j, batch, columns), 1, gradients.weight.part(i, j, rows, columns));
      });
    } else if (item < weight_items + x_items) {
      x_tiles.visit(item - weight_items, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
        product_nn(scale, grad_outputs.part(i, 0, rows, out), inputs.weight.part(0, j, out, columns), 1, gradients.x.part(i, j, rows, columns));
      });
    } else {
      const int64_t first = (item - weight_items - x_items) * kBiasColumns;
      add_column_sums(grad_outputs, first, std::min(kBiasColumns, out - first), scale, gradients.bias);
    }
  };
  const int64_t items = weight_items + x_items + bias_items;
  if (4.0 * static_cast<double>(batch) * static_cast<double>(in) * static_cast<double>(out) < kSmall) {
    for (int64_t item = 0; item < items; ++item) body(item, 0);
  } else {
    parallel_for(context, items, body);
  }
}

}  // namespace duet::cpu
