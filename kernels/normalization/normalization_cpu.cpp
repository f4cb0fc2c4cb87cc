#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/normalization/normalization_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
//
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_tree.h"
#include "kernels/normalization/normalization_backends.h"

#ifndef DUET_NORMALIZATION_ROW
#define DUET_NORMALIZATION_ROW
namespace duet::cpu {
// One row of layer norm's backward. grad_x may be null. The row's terms are added to gain_sums and offset_sums (d each;
// both are null or neither is).
struct LayerNormRow {
  const float *x, *gain, *grad_outputs;
  float* grad_x;
  double *gain_sums, *offset_sums;
  int64_t size;
  double eps;
};
}  // namespace duet::cpu
#endif

// Everything within a row is in double, because 1e19 squared overflows a float, and beside a mean of 1e4 a float has no
// digits left for a variance of 1.
HWY_BEFORE_NAMESPACE();
namespace duet::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using Wide = hn::ScalableTag<double>;
using Single = hn::CappedTag<double, 1>;

template <class D>
hn::Vec<D> read(D d, const float* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), from));
}
template <class D>
void write(D, hn::Vec<D> value, float* to) {
  const hn::Rebind<float, D> narrow;
  hn::StoreU(hn::DemoteTo(narrow, value), narrow, to);
}
template <class D>
hn::Vec<D> read_or(D d, const float* from, int64_t k, double otherwise) {
  return from ? read(d, from + k) : hn::Set(d, otherwise);
}

// Calls body(tag, k) for every vector of [0, size), then for the remaining elements one at a time.
template <class Body>
void each(int64_t size, Body&& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Wide()));
  int64_t k = 0;
  for (; k + lanes <= size; k += lanes) body(Wide(), k);
  for (; k < size; ++k) body(Single(), k);
}

// The sum of term(tag, k) over [0, size), as two sums side by side, because an addition takes four cycles.
template <class Term>
double sum(int64_t size, Term&& term) {
  const Wide d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t k = 0;
  for (; k + 2 * lanes <= size; k += 2 * lanes) {
    even = hn::Add(even, term(d, k));
    odd = hn::Add(odd, term(d, k + lanes));
  }
  double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; k < size; ++k) total += hn::GetLane(term(Single(), k));
  return total;
}

double norm(const float* x, int64_t size) {
  return std::sqrt(sum(size, [x](auto d, int64_t k) HWY_ATTR {
    const auto value = read(d, x + k);
    return hn::Mul(value, value);
  }));
}

// Written so that a NaN norm is not clipped.
void unit_row(const float* x, float* y, int64_t size, double eps) {
  const double length = norm(x, size), scale = 1 / (length < eps ? eps : length);
  each(size, [=](auto d, int64_t k) HWY_ATTR { write(d, hn::Mul(read(d, x + k), hn::Set(d, scale)), y + k); });
}

void unit_row_backward(const float* x, const float* g, float* grad, int64_t size, double eps) {
  const double length = norm(x, size);
  const bool clipped = length < eps;
  const double scale = 1 / (clipped ? eps : length);
  const double along = clipped ? 0 : scale * scale * sum(size, [=](auto d, int64_t k) HWY_ATTR {
                                       return hn::Mul(read(d, x + k), read(d, g + k));
                                     });
  each(size, [=](auto d, int64_t k) HWY_ATTR {
    const auto direction = clipped ? read(d, g + k) : hn::NegMulAdd(read(d, x + k), hn::Set(d, along), read(d, g + k));
    write(d, hn::MulAdd(direction, hn::Set(d, scale), read(d, grad + k)), grad + k);
  });
}

struct Moments {
  double mean, scale;  // scale = 1 / sqrt(variance + eps)
};

Moments moments(const float* x, int64_t size, double eps) {
  const double count = static_cast<double>(size);
  const double mean = sum(size, [x](auto d, int64_t k) HWY_ATTR { return read(d, x + k); }) / count;
  const double squares = sum(size, [=](auto d, int64_t k) HWY_ATTR {
    const auto centred = hn::Sub(read(d, x + k), hn::Set(d, mean));
    return hn::Mul(centred, centred);
  });
  return {mean, 1 / std::sqrt(squares / count + eps)};
}

void layer_norm_row(const float* x, const float* gain, const float* offset, float* y, int64_t size, double eps) {
  const auto [mean, scale] = moments(x, size, eps);
  const double centre = mean, factor = scale;
  each(size, [=](auto d, int64_t k) HWY_ATTR {
    const auto standardised = hn::Mul(hn::Sub(read(d, x + k), hn::Set(d, centre)), hn::Set(d, factor));
    write(d, hn::MulAdd(standardised, read_or(d, gain, k, 1), read_or(d, offset, k, 0)), y + k);
  });
}

void layer_norm_row_backward(const LayerNormRow& row) {
  const Moments of_row = moments(row.x, row.size, row.eps);
  const double mean = of_row.mean, scale = of_row.scale, count = static_cast<double>(row.size);
  const auto standardised = [&](auto d, int64_t k) HWY_ATTR {
    return hn::Mul(hn::Sub(read(d, row.x + k), hn::Set(d, mean)), hn::Set(d, scale));
  };
  const auto upstream = [&](auto d, int64_t k)
                            HWY_ATTR { return hn::Mul(read(d, row.grad_outputs + k), read_or(d, row.gain, k, 1)); };
  if (row.grad_x) {
    const double mean_g = sum(row.size, [&](auto d, int64_t k) HWY_ATTR { return upstream(d, k); }) / count;
    const double mean_gx =
        sum(row.size, [&](auto d, int64_t k) HWY_ATTR { return hn::Mul(upstream(d, k), standardised(d, k)); }) / count;
    each(row.size, [&](auto d, int64_t k) HWY_ATTR {
      const auto left =
          hn::NegMulAdd(standardised(d, k), hn::Set(d, mean_gx), hn::Sub(upstream(d, k), hn::Set(d, mean_g)));
      write(d, hn::MulAdd(left, hn::Set(d, scale), read(d, row.grad_x + k)), row.grad_x + k);
    });
  }
  if (!row.gain_sums) return;
  each(row.size, [&](auto d, int64_t k) HWY_ATTR {
    const auto g = read(d, row.grad_outputs + k);
    hn::StoreU(hn::MulAdd(g, standardised(d, k), hn::LoadU(d, row.gain_sums + k)), d, row.gain_sums + k);
    hn::StoreU(hn::Add(g, hn::LoadU(d, row.offset_sums + k)), d, row.offset_sums + k);
  });
}

}  // namespace
}  // namespace duet::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace duet::cpu {
namespace {
HWY_EXPORT(unit_row);
HWY_EXPORT(unit_row_backward);
HWY_EXPORT(layer_norm_row);
HWY_EXPORT(layer_norm_row_backward);

// Elements of a work item: about 10 us of work, several times the cost of handing it to a second thread.
constexpr int64_t kChunk = 16384;
int64_t rows_an_item(int64_t columns) { return std::max<int64_t>(1, kChunk / std::max<int64_t>(1, columns)); }

// Sums over the rows of the batch, of gain and offset beside each other (METHOD.md 0.1). A run is a node of the tree:
// there are at most kRuns, whose sums are stored side by side.
struct Partials {
  static constexpr int64_t kRuns = 64;
  int64_t width, blocks_a_run, runs;
  double* block;  // runs x width: the block that a run is at
  float* nodes;   // runs x levels x width: what waits within a run
  float* sums;    // runs x width

  Partials(Matrix<const float> x, Workspace& workspace)
      : width(2 * x.columns),
        blocks_a_run(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(
            tree_blocks(std::max<int64_t>({1, rows_an_item(x.columns), ceil_div(x.rows, kRuns)})))))),
        runs(ceil_div(x.rows, blocks_a_run * kTreeRows)),
        block(workspace.take<double>(runs * width)),
        nodes(workspace.take<float>(runs * levels() * width)),
        sums(workspace.take<float>(runs * width)) {}

  int64_t levels() const { return tree_levels(blocks_a_run); }
};

// The backward pass of an activation and dropout that follow, as separate calls one after another. y: the layer norm.
// undropped: the gradient before dropout, where there is dropout. upstream: the gradient before the activation.
struct Followed {
  Matrix<float> y, undropped, upstream;  // B x d each

  Followed(Matrix<const float> x, bool fuses, bool drops, Workspace& workspace)
      : y(workspace.take_matrix<float>(fuses ? x.rows : 0, x.columns)),
        undropped(workspace.take_matrix<float>(fuses && drops ? x.rows : 0, x.columns)),
        upstream(workspace.take_matrix<float>(fuses ? x.rows : 0, x.columns)) {}
};

void normalise(const duet_context& context, const LayerNormInputs& inputs, Matrix<float> outputs) {
  const Matrix<const float> x = inputs.x;
  const auto run = HWY_DYNAMIC_DISPATCH(layer_norm_row);
  parallel_chunks(context, x.rows, rows_an_item(x.columns), [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i)
      run(x.row(i), inputs.gain.data, inputs.offset.data, outputs.row(i), x.columns, inputs.eps);
  });
}

}  // namespace

size_t layer_norm_workspace(Matrix<const float> x, bool fuses, bool drops) {
  Workspace measure;
  Partials(x, measure);
  Followed(x, fuses, drops, measure);
  return measure.used();
}

void unit_rows_forward(const duet_context& context, Matrix<const float> x, float eps, Matrix<float> outputs) {
  const auto run = HWY_DYNAMIC_DISPATCH(unit_row);
  parallel_chunks(context, x.rows, rows_an_item(x.columns), [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) run(x.row(i), outputs.row(i), x.columns, eps);
  });
}

void unit_rows_backward(const duet_context& context, Matrix<const float> x, float eps, Matrix<const float> grad_outputs,
                        Matrix<float> grad_x) {
  const auto run = HWY_DYNAMIC_DISPATCH(unit_row_backward);
  parallel_chunks(context, x.rows, rows_an_item(x.columns), [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) run(x.row(i), grad_outputs.row(i), grad_x.row(i), x.columns, eps);
  });
}

void layer_norm_forward(const duet_context& context, const LayerNormInputs& inputs, Matrix<float> outputs) {
  if (inputs.x.columns == 0) return;
  normalise(context, inputs, outputs);
  if (inputs.fuses) activation_forward(context, inputs.activation, outputs, outputs);
  if (inputs.drops()) dropout_forward(context, inputs.dropout, outputs, outputs);
}

void layer_norm_backward(const duet_context& context, const LayerNormInputs& inputs, Matrix<const float> grad_outputs,
                         const LayerNormGradients& gradients, Workspace workspace) {
  const Matrix<const float> x = inputs.x;
  const int64_t d = x.columns;
  if (d == 0) return;
  const Partials partials(x, workspace);
  const Followed followed(x, inputs.fuses, inputs.drops(), workspace);
  if (inputs.fuses) {
    normalise(context, inputs, followed.y);
    if (inputs.drops()) {
      std::fill_n(followed.undropped.data, x.rows * d, 0.0f);
      dropout_backward(context, inputs.dropout, grad_outputs, followed.undropped);
      grad_outputs = followed.undropped;
    }
    std::fill_n(followed.upstream.data, x.rows * d, 0.0f);
    activation_backward(context, inputs.activation, followed.y, grad_outputs, followed.upstream);
    grad_outputs = followed.upstream;
  }
  const bool sums = gradients.gain || gradients.offset;
  const auto run = HWY_DYNAMIC_DISPATCH(layer_norm_row_backward);
  parallel_for(context, partials.runs, [&](int64_t item, int) {
    const int64_t width = partials.width, begin = item * partials.blocks_a_run * kTreeRows,
                  rows = std::min(partials.blocks_a_run * kTreeRows, x.rows - begin), blocks = tree_blocks(rows);
    double* const of_block = partials.block + item * width;
    float *const sum = partials.sums + item * width, *const nodes = partials.nodes + item * partials.levels() * width;
    for (int64_t block = 0; block < blocks; ++block) {
      if (sums) std::fill_n(of_block, width, 0.0);
      const int64_t first = begin + block * kTreeRows, end = std::min(begin + rows, first + kTreeRows);
      for (int64_t i = first; i < end; ++i)
        run({x.row(i), inputs.gain.data, grad_outputs.row(i), gradients.x ? gradients.x.row(i) : nullptr,
             sums ? of_block : nullptr, of_block + d, d, inputs.eps});
      if (!sums) continue;
      for (int64_t k = 0; k < width; ++k) sum[k] = static_cast<float>(of_block[k]);
      add_leaf(TreeStep(block, blocks), sum, width, nodes);
    }
  });
  if (!sums || x.rows == 0) return;
  const auto merge = [&](int64_t first, int64_t count, Vector<float> to, int64_t k) {
    if (!to) return;
    float* const from = partials.sums + first;
    for (int64_t apart = 1; apart < partials.runs; apart *= 2)
      for (int64_t run = 0; run + apart < partials.runs; run += 2 * apart)
        for (int64_t e = 0; e < count; ++e) from[run * partials.width + e] += from[(run + apart) * partials.width + e];
    for (int64_t e = 0; e < count; ++e) to[k + e] += from[e];
  };
  parallel_chunks(context, d, std::max<int64_t>(64, kChunk / partials.runs), [&](int64_t first, int64_t count, int) {
    merge(first, count, gradients.gain, first);
    merge(d + first, count, gradients.offset, first);
  });
}

}  // namespace duet::cpu
#endif
