// A thread owns four neighbouring elements of the copy of an upstream gradient; normalization and linear do the rest.
// Bytes: 8 an element of the copy.
// Products: those of linear.
#include "kernels/cuda/elementwise.h"
#include "kernels/head/head_apart.h"
#include "kernels/head/head_small_cuda.h"

namespace duet::cuda {
namespace {

struct Copy {
  Matrix<const float> from;  // null: zeros
  Matrix<float> to;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    store(to.row(i) + j, from ? load<kWidth>(from.row(i) + j) : Pack<kWidth>{});
  }
};

struct Backend {
  static constexpr auto linear_workspace = cuda::linear_workspace;
  static constexpr auto linear_forward = cuda::linear_forward;
  static constexpr auto linear_backward = cuda::linear_backward;
  static constexpr auto unit_rows_forward = cuda::unit_rows_forward;
  static constexpr auto unit_rows_backward = cuda::unit_rows_backward;

  static void copy(const duet_context& context, Matrix<const float> from, Matrix<float> to) {
    for_each_element(context, to.rows, to.columns, contiguous(from), aligned(from) && aligned(to), Copy{from, to});
  }
};

}  // namespace

size_t head_workspace(const duet_context& context, const HeadInputs& inputs) {
  return HeadApart<Backend>::workspace(context, inputs);
}

void head_forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs,
                  Workspace workspace) {
  if (inputs.rows() == 0) return;
  if (fits_small(context, inputs)) return small_head_forward(context, inputs, outputs);
  HeadApart<Backend>::forward(context, inputs, outputs, workspace);
}

void head_backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                   const HeadGradients& gradients, Workspace workspace) {
  if (inputs.rows() == 0) return;
  if (fits_small(context, inputs)) return small_head_backward(context, inputs, upstream, gradients);
  HeadApart<Backend>::backward(context, inputs, upstream, gradients, workspace);
}

}  // namespace duet::cuda
