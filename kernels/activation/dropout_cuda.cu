// Elementwise (kernels/cuda/elementwise.h): a thread owns four neighbouring elements and draws their words itself, one
// Philox block where the first of them is a multiple of four in the draw, else two. A block is 20 multiplications of 32
// x 32 bits and some 80 other operations: 25 an element, against the 50 that an H200 has time for while 8 bytes move
// (backward 12), so bandwidth stays the limit and no mask is stored.
#include "kernels/activation/relu_dropout_cuda.h"

namespace duet::cuda {
namespace {

template <bool kAdd>
struct DropElements {
  Drop drop;
  Matrix<const float> source;
  Matrix<float> target;  // outputs, or grad_x to add to

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    Pack<kWidth> value = load<kWidth>(source.row(i) + j);
    drop.apply(i, j, value);
    if constexpr (kAdd) {
      const Pack<kWidth> before = load<kWidth>(target.row(i) + j);
      DUET_UNROLL
      for (int k = 0; k < kWidth; ++k) value.at[k] = before.at[k] + value.at[k];
    }
    store(target.row(i) + j, value);
  }
};

template <bool kAdd>
void drop_elements(const duet_context& context, const Dropout& dropout, Matrix<const float> source,
                   Matrix<float> target) {
  for_each_element(context, source.rows, source.columns, contiguous(source) && contiguous(target),
                   aligned(source) && aligned(target),
                   DropElements<kAdd>{Drop(dropout, source.columns), source, target});
}

}  // namespace

void dropout_forward(const duet_context& context, const Dropout& dropout, Matrix<const float> x,
                     Matrix<float> outputs) {
  drop_elements<false>(context, dropout, x, outputs);
}

void dropout_backward(const duet_context& context, const Dropout& dropout, Matrix<const float> grad_outputs,
                      Matrix<float> grad_x) {
  drop_elements<true>(context, dropout, grad_outputs, grad_x);
}

}  // namespace duet::cuda
