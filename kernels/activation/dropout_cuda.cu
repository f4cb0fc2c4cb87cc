// A thread owns four neighbouring elements (kernels/cuda/elementwise.h) and draws their random words itself.
// Bytes: 8 an element forward, 12 backward; no mask is stored.
// Operations: one or two Philox blocks for four elements, 25 operations an element; no products.
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
