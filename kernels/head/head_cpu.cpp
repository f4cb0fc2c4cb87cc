// linear computes the products and normalization the rows. Here the upstream gradient of the unit rows is copied, and
// linear adds to the copy. The gradients of the classifier are one sum over the rows of all modalities (METHOD.md 0.1).
#include <algorithm>

#include "kernels/cpu/elementwise.h"
#include "kernels/head/head_apart.h"
#include "kernels/linear/linear_parameters_cpu.h"

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

static_assert(kMostModalities <= kMostRowPairs);

// Of the classifier's gradients.
struct Scratch {
  int64_t size;
  float* data;  // size floats a thread, aligned

  Scratch(const duet_context& context, const HeadInputs& inputs, Workspace& workspace)
      : size(LinearParameters::scratch(inputs.rows(), static_cast<int>(inputs.count), inputs.classes(),
                                       inputs.columns())),
        data(workspace.take<float>(context.threads * size)) {}
};

void add_classifier_gradients(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                              const HeadGradients& gradients, Workspace workspace) {
  const Scratch scratch(context, inputs, workspace);
  RowPair sides[kMostModalities];
  int count = 0;
  for (int64_t k = 0; k < inputs.count; ++k)
    if (upstream.by_logits[k]) sides[count++] = {upstream.by_logits[k], upstream.u[k]};
  if (count == 0 || inputs.rows() == 0) return;
  const LinearParameters parameters(sides, count, inputs.output_scale, gradients.weight, gradients.bias);
  for_each_layer_item(context, count * layer_operations(inputs.rows(), inputs.columns(), inputs.classes()),
                      parameters.items(),
                      [&](int64_t item, int thread) { parameters.add(item, scratch.data + thread * scratch.size); });
}

}  // namespace

size_t head_workspace(const duet_context& context, const HeadInputs& inputs) {
  Workspace parameters;
  Scratch(context, inputs, parameters);
  return std::max(HeadApart<Backend>::workspace(context, inputs), parameters.used());
}

void head_forward(const duet_context& context, const HeadInputs& inputs, const HeadOutputs& outputs,
                  Workspace workspace) {
  HeadApart<Backend>::forward(context, inputs, outputs, workspace);
}

void head_backward(const duet_context& context, const HeadInputs& inputs, const HeadUpstream& upstream,
                   const HeadGradients& gradients, Workspace workspace) {
  add_classifier_gradients(context, inputs, upstream, gradients, workspace);
  HeadGradients of_rows = gradients;
  of_rows.weight = {}, of_rows.bias = {};
  HeadApart<Backend>::backward(context, inputs, upstream, of_rows, workspace);
}

}  // namespace duet::cpu
