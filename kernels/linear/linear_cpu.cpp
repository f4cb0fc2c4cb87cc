// Products of a layer on the packed product (kernels/cpu/tile_product.h). A work item is a part of the output of at most 264 x 64; its thread packs
// the 64 columns' operand for itself, which costs a twentieth of the product and no barrier.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/linear/linear_backends.h"
#include "kernels/linear/linear_epilogue.h"

namespace duet::cpu {
namespace {

// Below this a layer takes about 20 us on one core, and handing out parts of it to a second one gains nothing, nor does packing.
constexpr double kSmall = 2e6;        // floating-point operations
constexpr int64_t kItemColumns = 64;  // whole panels; 128 x 64 x 256 takes 40 us
constexpr int64_t kBlockRows = 12;    // a whole block, and two of the 6 rows that narrower vectors take
constexpr int64_t kItemRows = 22 * kBlockRows;
constexpr int64_t kStripRows = 512;    // of an operand that backward packs at a time
constexpr int64_t kGateChunk = 16384;  // elements

double operations(int64_t a, int64_t b, int64_t c) { return 2.0 * static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c); }

// The parts of an output, rows x columns.
struct Items {
  int64_t rows, columns, tall = kItemRows;

  int64_t down() const { return columns ? ceil_div(rows, tall) : 0; }
  int64_t count() const { return down() * ceil_div(columns, kItemColumns); }
  // body(first_row, rows, first_column, columns) of one item.
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

// The rows of y in panels, the layout of PackedRows: 4 x 4 at a time, 64 columns of all rows before the next, so that what is written stays in L1.
void pack_panels(Matrix<const float> y, float* packed) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::FixedTag<float, 4> four;
  const hn::FixedTag<double, 2> pairs;
  constexpr int64_t kDepth = 64, kLine = 16;
  const int64_t width = panel_width(), depth = y.columns;
  for (int64_t start = 0; start < y.rows; start += width) {
    float* panel = packed + start * depth;
    const int64_t rows = std::min(width, y.rows - start);
    for (int64_t k = 0; k < depth; k += kDepth) {
      const int64_t end = std::min(depth, k + kDepth);
      int64_t j = 0;
      for (; j + 4 <= rows; j += 4) {
        const float *r0 = y.row(start + j), *r1 = y.row(start + j + 1), *r2 = y.row(start + j + 2), *r3 = y.row(start + j + 3);
        for (int64_t ahead = j + 4; ahead < std::min(rows, j + 8); ++ahead)  // too many streams for the processor to foresee
          for (int64_t line = k; line < end; line += kLine) hwy::Prefetch(y.row(start + ahead) + line);
        int64_t c = k;
        for (; c + 4 <= end; c += 4) {
          const auto a = hn::LoadU(four, r0 + c), b = hn::LoadU(four, r1 + c), e = hn::LoadU(four, r2 + c), f = hn::LoadU(four, r3 + c);
          const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(four, a, b)), ab_high = hn::BitCast(pairs, hn::InterleaveUpper(four, a, b));
          const auto ef_low = hn::BitCast(pairs, hn::InterleaveLower(four, e, f)), ef_high = hn::BitCast(pairs, hn::InterleaveUpper(four, e, f));
          float* to = panel + c * width + j;
          hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, ab_low, ef_low)), four, to);
          hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, ab_low, ef_low)), four, to + width);
          hn::StoreU(hn::BitCast(four, hn::InterleaveLower(pairs, ab_high, ef_high)), four, to + 2 * width);
          hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(pairs, ab_high, ef_high)), four, to + 3 * width);
        }
        for (; c < end; ++c)
          for (int64_t r = 0; r < 4; ++r) panel[c * width + j + r] = y.row(start + j + r)[c];
      }
      for (; j < width; ++j)
        for (int64_t c = k; c < end; ++c) panel[c * width + j] = j < rows ? y.row(start + j)[c] : 0;
    }
  }
}

// v in panels of columns, the layout of PackedColumns.
void pack_strip(Matrix<const float> v, float* packed) {
  const int64_t width = panel_width();
  for (int64_t column = 0; column < v.columns; column += width) {
    const int64_t columns = std::min(width, v.columns - column);
    for (int64_t i = 0; i < v.rows; ++i) {
      float* to = packed + column * v.rows + i * width;
      std::copy_n(v.row(i) + column, columns, to);
      std::fill(to + columns, to + width, 0.0f);
    }
  }
}

// out += g v, or g^T v, by way of strip.
template <bool kTransposed>
void add_product(Matrix<const float> g, Matrix<const float> v, float* strip, Matrix<float> out) {
  for (int64_t k = 0; k < v.rows; k += kStripRows) {
    const int64_t depth = std::min(kStripRows, v.rows - k);
    pack_strip(v.part(k, 0, depth, v.columns), strip);
    if constexpr (kTransposed)
      add_product_tn(g.part(k, 0, depth, g.columns), {strip, depth, v.columns}, 0, out);
    else
      add_product_nn(g.part(0, k, g.rows, depth), {strip, depth, v.columns}, 0, out);
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
  const int64_t backward = std::min(kStripRows, std::max(inputs.x.rows, inputs.weight.rows));
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

void linear_forward(const duet_context& context, const LinearInputs& inputs, Matrix<float> outputs, Workspace workspace) {
  const int64_t in = inputs.x.columns;
  const Scratch scratch(context, inputs, workspace);
  const LinearEpilogue epilogue(inputs);
  // A panel costs as much where most of it is padding.
  const double work = operations(outputs.rows, ceil_div(outputs.columns, panel_width()) * panel_width(), in);
  // What would be one item is made two, for two threads.
  const bool halves = work >= kSmall && outputs.rows <= kItemRows && outputs.columns <= kItemColumns;
  const Items parts{outputs.rows, outputs.columns, halves ? ceil_div(outputs.rows, 2 * kBlockRows) * kBlockRows : kItemRows};
  for_each_item(context, work, parts.count(), [&](int64_t item, int thread) {
    parts.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      float* const packed = scratch.of(thread);
      pack_panels(inputs.weight.part(j, 0, columns, in), packed);
      tile_product(inputs.x.part(i, 0, rows, in), {packed, columns, in}, 0, outputs.part(i, j, rows, columns));
      epilogue.apply(outputs, i, rows, j, columns);
    });
  });
}

void linear_backward(const duet_context& context, const LinearInputs& inputs, Matrix<const float> outputs, Matrix<const float> grad_outputs,
                     const LinearGradients& gradients, Workspace workspace) {
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
  const int64_t bias_items = gradients.bias ? ceil_div(out, kBiasColumns) : 0;
  // BLAS takes what is small, and a layer with a factor: a classifier.
  const bool packs = scale == 1 && operations(batch, in, out) >= kSmall;
  const auto body = [&](int64_t item, int thread) {
    if (item < weight_items) {
      weight_parts.visit(item, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
        const auto g = grad_outputs.part(0, i, batch, rows), x = inputs.x.part(0, j, batch, columns);
        const auto to = gradients.weight.part(i, j, rows, columns);
        packs ? add_product<true>(g, x, scratch.of(thread), to) : product_tn(scale, g, x, 1, to);
      });
    } else if (item < weight_items + x_items) {
      x_parts.visit(item - weight_items, [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
        const auto g = grad_outputs.part(i, 0, rows, out), weight = inputs.weight.part(0, j, out, columns);
        const auto to = gradients.x.part(i, j, rows, columns);
        packs ? add_product<false>(g, weight, scratch.of(thread), to) : product_nn(scale, g, weight, 1, to);
      });
    } else {
      const int64_t first = (item - weight_items - x_items) * kBiasColumns;
      add_column_sums(grad_outputs, first, std::min(kBiasColumns, out - first), scale, gradients.bias);
    }
  };
  for_each_item(context, 2 * operations(batch, in, out), weight_items + x_items + bias_items, body);
}

}  // namespace duet::cpu
