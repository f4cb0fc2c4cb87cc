#include "kernels/linear/linear_parameters_cpu.h"

#include "kernels/cpu/row_tree.h"

namespace duet::cpu {
namespace {

constexpr int64_t kBiasColumns = 64;  // of an item

}  // namespace

LinearParameters::LinearParameters(const RowPair* sides, int count, float scale, Matrix<float> weight,
                                   Vector<float> bias)
    : sides_(sides),
      count_(count),
      scale_(scale),
      weight_(weight),
      bias_(bias),
      parts_{weight ? weight.rows : 0, weight.columns, weight_item_rows(weight.columns)},
      bias_items_(bias ? ceil_div(bias.size, kBiasColumns) : 0) {}

int64_t LinearParameters::scratch(int64_t rows, int sides, int64_t out, int64_t in) {
  return row_product_scratch(rows, sides, std::min(weight_item_rows(in), out), std::min(kItemColumns, in));
}

void LinearParameters::add(int64_t item, float* scratch) const {
  if (item >= parts_.count()) {
    const int64_t first = (item - parts_.count()) * kBiasColumns;
    return add_bias(first, std::min(kBiasColumns, bias_.size - first));
  }
  parts_.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
    RowPair parts[kMostRowPairs];
    for (int side = 0; side < count_; ++side) {
      const auto [g, x] = sides_[side];
      parts[side] = {g.part(0, i, g.rows, rows), x.part(0, j, x.rows, columns)};
    }
    add_row_product(parts, count_, scale_, scratch, weight_.part(i, j, rows, columns));
  });
}

// The sum of a block is in float64, so that it is rounded once.
void LinearParameters::add_bias(int64_t first, int64_t count) const {
  float nodes[kMostTreeLevels * kBiasColumns], sum[kBiasColumns];
  const int64_t rows = sides_[0].g.rows, blocks = tree_blocks(rows);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kTreeRows, end = std::min(rows, begin + kTreeRows);
    double sums[kBiasColumns] = {};
    for (int side = 0; side < count_; ++side)
      for (int64_t i = begin; i < end; ++i) {
        const float* row = sides_[side].g.row(i) + first;
        for (int64_t j = 0; j < count; ++j) sums[j] += row[j];
      }
    for (int64_t j = 0; j < count; ++j) sum[j] = static_cast<float>(scale_ * sums[j]);
    add_leaf(TreeStep(block, blocks), sum, count, nodes);
  }
  for (int64_t j = 0; j < count; ++j) bias_[first + j] += sum[j];
}

}  // namespace duet::cpu
