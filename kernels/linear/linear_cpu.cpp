// Products of a layer on the packed product (kernels/cpu/tile_product.h). A work item is a part of the output, at most
// 264 x 64. Its thread packs the operand of the 64 columns for itself, which costs a twentieth of the product and needs
// no barrier.
#include <algorithm>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/linear/linear_backends.h"
#include "kernels/linear/linear_epilogue_cpu.h"

namespace duet::cpu {
namespace {

// A layer of fewer operations takes about 20 us on one core, and a second core gains nothing. The constant also selects
// the form of Adding, so changing it changes the bits of the gradients.
constexpr double kSmall = 2e6;        // floating-point operations
constexpr int64_t kItemColumns = 64;  // whole panels; 128 x 64 x 256 takes 40 us
constexpr int64_t kBlockRows = 12;    // one block of rows, or two of the 6 rows that narrower vectors use
constexpr int64_t kItemRows = 22 * kBlockRows;
constexpr int64_t kStripDepth = 512;   // of an operand that backward packs at a time
constexpr int64_t kGateChunk = 16384;  // elements

double operations(int64_t a, int64_t b, int64_t c) {
  return 2.0 * static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

// The parts of an output, rows x columns.
struct Items {
  int64_t rows, columns, tall = kItemRows;

  int64_t down() const { return columns ? ceil_div(rows, tall) : 0; }
  int64_t count() const { return down() * ceil_div(columns, kItemColumns); }
  // Calls body(first_row, rows, first_column, columns) for one item.
  template <class Body>
  void visit(int64_t item, Body&& body) const {
    const int64_t i = item % down() * tall, j = item / down() * kItemColumns;
    body(i, std::min(tall, rows - i), j, std::min(kItemColumns, columns - j));
  }
};

template <class Body>
void for_each_item(const duet_context& context, double work, int64_t count, Body&& body) {
  if (work >= kSmall) return parallel_for(context, count, body);
  for (int64_t item = 0; item < count; ++item) body(item, 0);
}

// How a product is added to a gradient: as one chain of multiply-adds that starts from the old value; or, in a small
// layer and in one with a factor (a classifier), as a sum of its own, times the factor.
struct Adding {
  bool chained;
  float factor;
};

// out += factor g v, or factor g^T v. strip: scratch for a packed operand.
template <bool kTransposed>
void add_product(Adding adding, Matrix<const float> g, Matrix<const float> v, float* strip, Matrix<float> out) {
  for (int64_t k = 0; k < v.rows; k += kStripDepth) {
    const int64_t depth = std::min(kStripDepth, v.rows - k);
    const PackedColumns packed = pack_columns(v.part(k, 0, depth, v.columns), strip);
    if constexpr (kTransposed) {
      const auto left = g.part(k, 0, depth, g.columns);
      adding.chained ? add_product_tn(left, packed, 0, out) : add_scaled_tn(adding.factor, left, packed, 0, out);
    } else {
      const auto left = g.part(0, k, g.rows, depth);
      adding.chained ? add_product_nn(left, packed, 0, out) : add_scaled_nn(adding.factor, left, packed, 0, out);
    }
  }
}

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

// Floats of a thread's strip: whole panels, as deep as forward or backward needs them.
int64_t strip_size(const LinearInputs& inputs) {
  const int64_t backward = std::min(kStripDepth, std::max(inputs.x.rows, inputs.weight.rows));
  return kItemColumns * std::max(inputs.x.columns, backward);
}

struct Scratch {
  int64_t strip;
  float* strips;        // one a thread
  Matrix<float> gated;  // B x out: the gradient before ReLU and dropout

  Scratch(const duet_context& context, const LinearInputs& inputs, Workspace& workspace)
      : strip(strip_size(inputs)),
        strips(workspace.take<float>(context.threads * strip)),
        gated(workspace.take_matrix<float>(inputs.relu ? inputs.x.rows : 0, inputs.weight.rows)) {}
  float* of(int thread) const { return strips + thread * strip; }
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
  const double work = operations(outputs.rows, ceil_div(outputs.columns, panel_width()) * panel_width(), in);
  // Work that would be one item is split into two, for two threads.
  const bool halves = work >= kSmall && outputs.rows <= kItemRows && outputs.columns <= kItemColumns;
  const Items parts{outputs.rows, outputs.columns,
                    halves ? ceil_div(outputs.rows, 2 * kBlockRows) * kBlockRows : kItemRows};
  for_each_item(context, work, parts.count(), [&](int64_t item, int thread) {
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
  const Items weight_parts{gradients.weight ? out : 0, in}, x_parts{gradients.x ? batch : 0, in};
  const int64_t weight_items = weight_parts.count(), x_items = x_parts.count();
  const Adding adding{scale == 1 && operations(batch, in, out) >= kSmall, scale};
  const int64_t bias_items = gradients.bias ? ceil_div(out, kBiasColumns) : 0;
  const auto body = [&](int64_t item, int thread) {
    if (item < weight_items) {
      weight_parts.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
        const auto g = grad_outputs.part(0, i, batch, rows), x = inputs.x.part(0, j, batch, columns);
        add_product<true>(adding, g, x, scratch.of(thread), gradients.weight.part(i, j, rows, columns));
      });
    } else if (item < weight_items + x_items) {
      x_parts.visit(item - weight_items, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
        const auto g = grad_outputs.part(i, 0, rows, out), weight = inputs.weight.part(0, j, out, columns);
        add_product<false>(adding, g, weight, scratch.of(thread), gradients.x.part(i, j, rows, columns));
      });
    } else {
      const int64_t first = (item - weight_items - x_items) * kBiasColumns;
      add_column_sums(grad_outputs, first, std::min(kBiasColumns, out - first), scale, gradients.bias);
    }
  };
  for_each_item(context, 2 * operations(batch, in, out), weight_items + x_items + bias_items, body);
}

}  // namespace duet::cpu
