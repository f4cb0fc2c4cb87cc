// A block of threads owns a tile of 128 x 128 of one gradient; both gradients of a block of the matrix are one launch.
// Bytes: G and its transpose, 32 MB each in bf16 and 64 MB in float32, from L2 in part; rows of the other operand.
// Products: two a block of 4096 x 4096, in chains of the length that a sum's bias allows.
#include <algorithm>

#include "kernels/cuda/positions.h"
#include "kernels/cuda/sweep.h"

namespace duet::cuda {
namespace {

template <class V>
struct Fill {
  V* data;
  V value;

  __device__ void operator()(int64_t k) const { data[k] = value; }
};

// to (rows x columns) += factor a b^T over `steps` steps.
struct GradientProduct {
  Packed a, b;
  int steps = 0;
  Matrix<float> to;
  const float* factor = nullptr;  // null: 1
  int tiles_down = 0, tiles = 0;
};

// Of k in one chain of sums. Tensor cores cut what they add to float32 where an addition would round: over 4096 of k
// and the three parts of tf32x3 that is a bias of 4e-5 of a sum of like signs, over 1024 1e-5. TF32 and bf16 have
// rounded more than that away before.
constexpr int64_t longest_chain(duet_precision precision) {
  return precision == DUET_PRECISION_TF32X3 ? 1024 : kBlockRows;
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    gradient_product_kernel(GradientProduct first, GradientProduct second, const float* unless_zero) {
  DUET_SHARED_DYNAMIC(uint32_t, shared);
  if (points_to_zero(unless_zero)) return;
  const bool is_first = static_cast<int>(blockIdx.x) < first.tiles;
  const GradientProduct product = is_first ? first : second;
  if (points_to_zero(product.factor)) return;
  const int tile = static_cast<int>(blockIdx.x) - (is_first ? 0 : first.tiles);
  const int64_t row = static_cast<int64_t>(tile % product.tiles_down) * kTileRows,
                column = static_cast<int64_t>(tile / product.tiles_down) * T::kColumns;
  typename T::Values values;
  T::multiply(shared, {product.a.row(row), product.a.stride, product.b.row(column), product.b.stride, product.steps},
              values);
  if (product.factor != nullptr) {
    const float factor = *product.factor;
    DUET_UNROLL
    for (int r = 0; r < T::kThreadRows; ++r) {
      DUET_UNROLL
      for (int c = 0; c < T::kThreadColumns; ++c) values(r, c) *= factor;
    }
  }
  T::template store<true>(values, product.to.data + row * product.to.stride + column, product.to.stride,
                          static_cast<int>(min(static_cast<int64_t>(kTileRows), product.to.rows - row)),
                          static_cast<int>(min(static_cast<int64_t>(T::kColumns), product.to.columns - column)));
}

template <class T>
GradientProduct product_of(const Packed& g, const Packed& rows, int64_t block_k, int64_t first_k, int64_t count_k,
                           Matrix<float> to, const float* factor) {
  if (!to || to.columns == 0 || count_k <= 0) return {};
  constexpr int kElements = elements_of_word(T::kPrecision);
  GradientProduct product{g, rows, static_cast<int>(ceil_div(count_k, kStepWords * kElements)), to, factor, 0, 0};
  product.a.words += first_k / kElements;
  product.b.words += (block_k + first_k) / kElements;
  product.tiles_down = static_cast<int>(ceil_div(to.rows, kTileRows));
  product.tiles = product.tiles_down * static_cast<int>(ceil_div(to.columns, T::kColumns));
  return product;
}

int64_t capacity(int64_t count, int64_t most) { return std::min(packed_rows(count), most); }

}  // namespace

void fill(const duet_context& context, float* data, int64_t count, float value) {
  for_each_position(context, count, Fill<float>{data, value});
}
void fill(const duet_context& context, double* data, int64_t count, double value) {
  for_each_position(context, count, Fill<double>{data, value});
}
void fill(const duet_context& context, unsigned* data, int64_t count, unsigned value) {
  for_each_position(context, count, Fill<unsigned>{data, value});
}
void fill(const duet_context& context, int* data, int64_t count, int value) {
  for_each_position(context, count, Fill<int>{data, value});
}

TileShape single_tile_shape(const duet_context& context) {
  TileShape shape{};
  with_single_tile(context, [&](auto tile) { shape = {decltype(tile)::kColumns, Walk<decltype(tile)>::kRows}; });
  return shape;
}

BlockGradients::BlockGradients(Workspace& workspace, duet_precision precision, int64_t n, int64_t m, int64_t d)
    : a_(take_columns(workspace, precision, n, d)), v_(take_columns(workspace, precision, m, d)) {
  const int64_t rows = capacity(n, kBlockRows), columns = capacity(m, kBackwardColumns),
                elements = elements_of_word(precision);
  g_ = {workspace.take<uint32_t>(rows * columns / elements), columns / elements};
  transposed_ = {workspace.take<uint32_t>(rows * columns / elements), rows / elements};
}

void BlockGradients::begin(const duet_context& context, Matrix<const float> a, const double* inverse_a,
                           Matrix<const float> v, const double* inverse_v, Matrix<float> grad_a, Matrix<float> grad_v,
                           const float* unless_zero, const float* factor_a, const float* factor_v) {
  unless_zero_ = unless_zero;
  factor_a_ = factor_a;
  factor_v_ = factor_v;
  grad_a_ = grad_a;
  grad_v_ = grad_v;
  block_ = {};
  if (grad_a) {
    pack_columns(context, v, inverse_v, v_);
    block_.g = g_;
  }
  if (grad_v) {
    pack_columns(context, a, inverse_a, a_);
    block_.transposed = transposed_;
  }
}

void BlockGradients::add(const duet_context& context, const Block& block) const {
  const Matrix<float> to_a = grad_a_ ? grad_a_.part(block.first_row, 0, block.rows, grad_a_.columns) : grad_a_;
  const Matrix<float> to_v = grad_v_ ? grad_v_.part(block.first_column, 0, block.columns, grad_v_.columns) : grad_v_;
  const int64_t d = std::max(grad_a_.columns, grad_v_.columns);
  const auto launch = [&](auto tile) {
    using T = decltype(tile);
    const int64_t chain = longest_chain(T::kPrecision), longest = std::max(block.rows, block.columns);
    for (int64_t k = 0; k < longest; k += chain) {
      const GradientProduct first =
          product_of<T>(g_, v_, block.first_column, k, std::min(chain, block.columns - k), to_a, factor_a_);
      const GradientProduct second =
          product_of<T>(transposed_, a_, block.first_row, k, std::min(chain, block.rows - k), to_v, factor_v_);
      DUET_LAUNCH(gradient_product_kernel<T>, first.tiles + second.tiles, T::kThreads, T::kSharedBytes, context.stream)
      (first, second, unless_zero_);
    }
  };
  with_precision(context.precision, [&](auto precision) {
    constexpr duet_precision kPrecision = decltype(precision)::value;
    if (gradient_columns(kPrecision, d) == SingleTile<kPrecision>::kColumns &&
        SingleTile<kPrecision>::fits(context.shared_bytes))
      launch(SingleTile<kPrecision>());
    else
      launch(DualTile<kPrecision>());
  });
}

}  // namespace duet::cuda
