// linear computes the products and normalization the rows. Here the upstream gradient of the unit rows is copied, and
// linear adds to the copy.
#include <algorithm>

#include "kernels/cpu/elementwise.h"
#include "kernels/head/head_apart.h"

namespace duet::cpu {
namespace {

constexpr int64_t kChunk = 65536;  // elements of a work item: some 10 us

struct Backend {
  static constexpr auto linear_workspace = cpu::linear_workspace;
  static constexpr auto linear_forward = cpu::linear_forward;
  static constexpr auto linear_backward = cpu::linear_backward;
  static constexpr auto unit_rows_forward = cpu::unit_rows_forward;
  static constexpr auto unit_rows_backward = cpu::unit_rows_backward;

  static void copy(const duet_context& context, Matrix<const float> from, Matrix<float> to) {
    for_each_run(context, to.rows, to.columns, contiguous(from), kChunk, [&](int64_t i, int64_t j, int64_t count) {
      from ? std::copy_n(from.row(i) + j, count, to.row(i) + j) : std::fill_n(to.row(i) + j, count, 0.0f);
    });
  }
};

}  // namespace

size_t head_workspace(const duet_context& context, const HeadInputs& inputs) {
  return HeadApart<Backend>::workspace(context, inputs);
}

void head_forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs,
                  Workspace workspace) {
  HeadApart<Backend>::forward(context, inputs, outputs, workspace);
}

void head_backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                   const HeadGradients& gradients, Workspace workspace) {
  HeadApart<Backend>::backward(context, inputs, upstream, gradients, workspace);
}

}  // namespace duet::cpu
