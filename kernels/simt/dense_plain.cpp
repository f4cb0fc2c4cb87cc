// The dense layers' products for the emulator: plain loops, sums in double, when the stream comes to them.
#include "kernels/cuda/dense.h"
#include "kernels/simt/simt.h"

namespace duet::cuda {
namespace {

void multiply(const DenseProduct& product) {
  const bool x_across = product.x_is == DenseProduct::Operand::as_it_is,
             y_across = product.y_is == DenseProduct::Operand::as_it_is;
  const int64_t x_step = x_across ? 1 : product.x.stride, y_step = y_across ? product.y.stride : 1;
  for (int64_t i = 0; i < product.out.rows; ++i)
    for (int64_t j = 0; j < product.out.columns; ++j) {
      const float* const x = x_across ? product.x.row(i) : product.x.data + i;
      const float* const y = y_across ? product.y.data + j : product.y.row(j);
      double sum = 0;
      for (int64_t k = 0; k < product.summed(); ++k) sum += double{x[k * x_step]} * y[k * y_step];
      float& out = product.out.row(i)[j];
      const double before = product.beta == 0 ? 0 : double{product.beta} * out,
                   plus = product.bias ? product.bias[j] : 0;
      out = static_cast<float>(product.alpha * sum + before + plus);
    }
}

}  // namespace

size_t dense_workspace() { return 0; }

void dense_product(const duet_context& context, const DenseProduct& product, void*) {
  simt::submit(context.stream, [product] { multiply(product); });
}

}  // namespace duet::cuda
