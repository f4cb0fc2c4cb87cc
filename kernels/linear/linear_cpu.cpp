// Products of a layer on the packed product (kernels/cpu/tile_product.h). A work item is a part of the output, at most
// 264 x 64. Its thread packs the operand of the 64 columns for itself, which costs a twentieth of the product and needs
// no barrier. No form is chosen by the number of rows, so that a row has its bits in any batch.
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/linear/linear_backends.h"
#include "kernels/linear/linear_epilogue_cpu.h"
#include "kernels/linear/linear_parameters_cpu.h"

namespace duet::cpu {
namespace {

constexpr int64_t kStripDepth = 512;   // of the weight's rows that backward packs at a time
constexpr int64_t kGateChunk = 16384;  // elements

// out += factor g weight. strip: scratch for a packed operand.
void add_product(float factor, Matrix<const float> g, Matrix<const float> weight, float* strip, Matrix<float> out) {
  for (int64_t k = 0; k < weight.rows; k += kStripDepth) {
    const int64_t depth = std::min(kStripDepth, weight.rows - k);
    const PackedColumns packed = pack_columns(weight.part(k, 0, depth, weight.columns), strip);
    add_scaled_nn(factor, g.part(0, k, g.rows, depth), packed, 0, out);
  }
}

// Floats of a thread's scratch: whole panels, as deep as forward or backward needs them, or what a part of grad_weight
// takes.
int64_t scratch_size(const LinearInputs& inputs) {
  const int64_t rows = inputs.x.rows, in = inputs.x.columns, out = inputs.weight.rows;
  return std::max(kItemColumns * std::max(in, std::min(kStripDepth, out)), LinearParameters::scratch(rows, 1, out, in));
}

struct Scratch {
  int64_t size;
  float* data;          // size floats a thread, aligned
  Matrix<float> gated;  // B x out: the gradient before ReLU and dropout

  Scratch(const duet_context& context, const LinearInputs& inputs, Workspace& workspace)
      : size(scratch_size(inputs)),
        data(workspace.take<float>(context.threads * size)),
        gated(workspace.take_matrix<float>(inputs.relu ? inputs.x.rows : 0, inputs.weight.rows)) {}
  float* of(int thread) const { return data + thread * size; }
};

}  // namespace

size_t linear_workspace(const duet_context& context, const LinearInputs& inputs) {
  Workspace measure;
  Scratch(context, inputs, measure);
  return measure.used();
}

void linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs,
                    Workspace workspace) {
  const int64_t in = inputs.x.columns;
  const Scratch scratch(context, inputs, workspace);
  const LinearEpilogue epilogue(inputs);
  // A panel costs the same where most of it is padding.
  const double work = layer_operations(outputs.rows, ceil_div(outputs.columns, panel_width()) * panel_width(), in);
  // Work that would be one item is split into two, for two threads.
  const bool halves = work >= kSmallLayer && outputs.rows <= kItemRows && outputs.columns <= kItemColumns;
  const LayerItems parts{outputs.rows, outputs.columns,
                         halves ? ceil_div(outputs.rows, 2 * kBlockRows) * kBlockRows : kItemRows};
  for_each_layer_item(context, work, parts.count(), [&](int64_t item, int thread) {
    parts.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      const PackedRows packed = pack_rows(inputs.weight.part(j, 0, columns, in), scratch.of(thread));
      tile_product(inputs.x.part(i, 0, rows, in), packed, 0, outputs.part(i, j, rows, columns));
      epilogue.apply(outputs, i, rows, j, columns);
    });
  });
}

void linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> outputs,
                     Matrix<const float> grad_outputs, const LinearGradients& gradients, Workspace workspace) {
  const float scale = inputs.output_scale;
  const int64_t batch = inputs.x.rows, in = inputs.x.columns, out = inputs.weight.rows;
  if (batch == 0) return;
  const Scratch scratch(context, inputs, workspace);
  if (inputs.relu) {
    const LinearEpilogue epilogue(inputs);
    const bool flat = contiguous(outputs) && contiguous(grad_outputs);
    for_each_run(context, batch, out, flat, kGateChunk, [&](int64_t i, int64_t j, int64_t count) {
      epilogue.gate(outputs.row(i) + j, grad_outputs.row(i) + j, scratch.gated.row(i) + j, count);
    });
    grad_outputs = scratch.gated;
  }
  const RowPair side{grad_outputs, inputs.x};
  const LinearParameters parameters(&side, 1, scale, gradients.weight, gradients.bias);
  const LayerItems x_parts{gradients.x ? batch : 0, in};
  const int64_t parameter_items = parameters.items();
  const auto body = [&](int64_t item, int thread) {
    if (item < parameter_items) return parameters.add(item, scratch.of(thread));
    x_parts.visit(item - parameter_items, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      add_product(scale, grad_outputs.part(i, 0, rows, out), inputs.weight.part(0, j, out, columns), scratch.of(thread),
                  gradients.x.part(i, j, rows, columns));
    });
  };
  for_each_layer_item(context, 2 * layer_operations(batch, in, out), parameter_items + x_parts.count(), body);
}

}  // namespace duet::cpu
