#include <algorithm>
#include <cmath>

#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/contrastive/contrastive_formula.h"
#include "kernels/contrastive/relation_cpu.h"
#include "kernels/contrastive/sigmoid_tile.h"
#include "kernels/cpu/softmax_sweep.h"
#include "kernels/cpu/target_sweep.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const ContrastiveInputs& in)
      : inputs(in),
        n(in.a.rows),
        m(in.v.rows),
        sweep(n, m, Sweep::kNarrow),
        sums(workspace, context, sweep, n, m),
        own(workspace, n, m),
        target(workspace, context, sweep, n, m, in.class_a ? in.class_a.columns : 0),
        pull(workspace, context, sweep, n, m),
        gradient(workspace, sweep),
        products(workspace, sweep.block_rows(), sweep.block_columns(), in.a.columns),
        scores(workspace, sweep, in.v.columns),
        stride(padded(sweep.tile_columns())),
        tiles(workspace.take<float>(context.threads * 2 * sweep.tile_rows() * stride)),
        thread_sums(workspace.take<float>(context.threads * sweep.tile_rows())),
        row_sum(workspace.take<double>(n)),
        slot_bias(workspace.take<double>(sweep.slots())) {}

  void begin(const duet_context& context) { target.begin(context, agreement(), inputs.trust_a, inputs.trust_v); }
  void begin_products(const ContrastiveGradients& out) {
    const auto factor = [](Vector<const float> given) { return given ? given[0] : 1; };
    products.begin(inputs.a, inputs.v, out.a, out.v, factor(inputs.grad_factor_a), factor(inputs.grad_factor_v));
  }

  Matrix<float> thread_tile(const Tile& tile, int which) const {
    return {tiles + which * sweep.tile_rows() * stride, tile.rows, tile.columns, stride};
  }

  // The thread's tile of a_i.v_j.
  Matrix<float> fill(const Tile& tile, int thread) const {
    const Matrix<float> out = thread_tile(tile, 2 * thread);
    scores.fill(tile, inputs.a, out);
    return out;
  }

  // The thread's tile of the sigmoid's W.
  Matrix<float> fill_weights(const Tile& tile, int thread) const {
    const Matrix<float> out = thread_tile(tile, 2 * thread + 1);
    target.fill(tile, out);
    for_each_own_pair(agreement(), tile, [&](int64_t r, int64_t c) { out.row(r)[c] = 1; });
    return out;
  }

  Agreement agreement() const {
    return {inputs.class_a, inputs.class_v, inputs.paired, inputs.first_row, inputs.first_column};
  }

  const ContrastiveInputs& inputs;
  int64_t n, m;
  Sweep sweep;
  SoftmaxSweep sums;
  OwnScores own;
  TargetSweep target;
  SoftmaxPull pull;
  ScoreGradient gradient;
  BlockGradients products;
  BlockScores scores;
  int64_t stride;
  float* tiles;        // threads x 2 tiles
  float* thread_sums;  // threads x tile rows
  double* row_sum;     // n
  double* slot_bias;   // slots
};

void softmax_forward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveOutputs& out,
                     Scratch& scratch) {
  const float scale = in.scale[0], bound = std::abs(scale) * norm_bound(context, in.a) * norm_bound(context, in.v);
  const float factor = scratch.own.begin(scratch.agreement(), bound, scale);
  scratch.sums.begin(bound, factor);
  scratch.begin(context);
  scratch.sweep.run(
      context, [&](const Block& block) { scratch.scores.pack(context, block, in.v); },
      [&](const Tile& tile, int thread) {
        const Matrix<float> dots = scratch.fill(tile, thread);
        scratch.own.leave_out(tile, dots);
        scratch.sums.take(tile, thread, dots);
        scratch.target.take(tile, thread, dots, factor, Entropy::no);
      },
      [&](const Block& block) {
        scratch.sums.merge(context, block);
        scratch.target.merge(context, block);
      });
  constexpr int64_t kLosses = 512;  // of a work item
  parallel_chunks(context, scratch.n, kLosses, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i)
      out.row_loss[i] =
          softmax_loss(scratch.own.row(i, scratch.sums.row(i)), scratch.target.row(i), out.row_statistics.row(i));
  });
  parallel_chunks(context, scratch.m, kLosses, [&](int64_t first, int64_t count, int) {
    for (int64_t j = first; j < first + count; ++j)
      out.column_loss[j] = softmax_loss(scratch.own.column(j, scratch.sums.column(j)), scratch.target.column(j),
                                        out.column_statistics.row(j));
  });
}

void softmax_backward(const duet_context& context, const ContrastiveInputs& in, Matrix<const float> row_statistics,
                      Matrix<const float> column_statistics, const ContrastiveGradients& out, Scratch& scratch) {
  const bool rows = bool(out.row_weight), columns = bool(out.column_weight);
  if (!rows && !columns) return;
  const float scale = in.scale[0];
  scratch.pull.begin(rows, columns);
  scratch.begin(context);
  scratch.gradient.begin();
  scratch.begin_products(out);
  for (int64_t i = 0; i < scratch.n; ++i) {
    const float* statistics = row_statistics.row(i);
    const float weight = weight_of(statistics, out.row_weight, i);
    scratch.pull.set_row(i, statistics[kLogSum], weight);
    scratch.target.set_row(i, weight == 0 ? 0 : weight / statistics[kPositives]);
  }
  for (int64_t j = 0; j < scratch.m; ++j) {
    const float* statistics = column_statistics.row(j);
    const float weight = weight_of(statistics, out.column_weight, j);
    scratch.pull.set_column(j, statistics[kLogSum], weight);
    scratch.target.set_column(j, weight == 0 ? 0 : weight / statistics[kPositives]);
  }
  const auto confident = [](const float* statistics) { return statistics[kLogOdds] > 0; };
  scratch.sweep.run(
      context, [&](const Block& block) { scratch.scores.pack(context, block, in.v); },
      [&](const Tile& tile, int thread) {
        const Matrix<float> dots = scratch.fill(tile, thread), gradient = scratch.gradient.tile(tile);
        scratch.pull.add(tile, thread, dots, scale, Accumulate::no, gradient);
        scratch.target.subtract(tile, thread, gradient);
        for_each_own_pair(scratch.agreement(), tile, [&](int64_t r, int64_t c) {
          const int64_t i = tile.first_row + r, j = tile.first_column + c;
          const float *row = row_statistics.row(i), *column = column_statistics.row(j);
          if (!confident(row) && !confident(column)) return;
          const double sum = own_pull(row, weight_of(row, out.row_weight, i)) +
                             own_pull(column, weight_of(column, out.column_weight, j));
          gradient.row(r)[c] = static_cast<float>(sum);
        });
        scratch.gradient.close(tile, scale_gradient(dots, scale, gradient));
      },
      [&](const Block& block) { scratch.products.add(context, block, scratch.gradient.merge(block)); });
  if (out.scale) out.scale[0] += static_cast<float>(scratch.gradient.scale());
}

void sigmoid_forward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveOutputs& out,
                     Scratch& scratch) {
  scratch.begin(context);
  std::fill_n(scratch.row_sum, scratch.n, 0.0);
  scratch.sweep.run(
      context, [&](const Block& block) { scratch.scores.pack(context, block, in.v); },
      [&](const Tile& tile, int thread) {
        float* sums = scratch.thread_sums + thread * scratch.sweep.tile_rows();
        sigmoid_sums(scratch.fill(tile, thread), in.scale[0], in.bias[0], scratch.fill_weights(tile, thread), sums);
        for (int64_t r = 0; r < tile.rows; ++r) scratch.row_sum[tile.first_row + r] += sums[r];
      },
      [](const Block&) {});
  for (int64_t i = 0; i < scratch.n; ++i) out.row_loss[i] = static_cast<float>(scratch.row_sum[i]);
}

void sigmoid_backward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveGradients& out,
                      Scratch& scratch) {
  if (!out.row_weight) return;
  const float scale = in.scale[0];
  scratch.gradient.begin();
  scratch.begin_products(out);
  scratch.begin(context);
  double grad_bias = 0;
  scratch.sweep.run(
      context, [&](const Block& block) { scratch.scores.pack(context, block, in.v); },
      [&](const Tile& tile, int thread) {
        const Matrix<float> dots = scratch.fill(tile, thread);
        const double sum = sigmoid_gradient(dots, scale, in.bias[0], scratch.fill_weights(tile, thread),
                                            out.row_weight.data + tile.first_row, scratch.gradient.tile(tile));
        scratch.slot_bias[tile.slot] = tile.block_column == 0 ? sum : scratch.slot_bias[tile.slot] + sum;
        scratch.gradient.close(tile, scale_gradient(dots, scale, scratch.gradient.tile(tile)));
      },
      [&](const Block& block) {
        for (int64_t slot = 0; slot < block.slots; ++slot) grad_bias += scratch.slot_bias[slot];
        scratch.products.add(context, block, scratch.gradient.merge(block));
      });
  if (out.scale) out.scale[0] += static_cast<float>(scratch.gradient.scale());
  if (out.bias) out.bias[0] += static_cast<float>(grad_bias);
}

}  // namespace

size_t contrastive_workspace(const duet_context& context, const ContrastiveInputs& inputs) {
  if (has_relation(inputs.kind)) return relation_workspace(context, inputs);
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void contrastive_forward(const duet_context& context, const ContrastiveInputs& inputs,
                         const ContrastiveOutputs& outputs, const duet_workspace& workspace) {
  if (has_relation(inputs.kind)) return relation_forward(context, inputs, outputs, workspace);
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  if (inputs.kind == DUET_CONTRASTIVE_KIND_SIGMOID)
    sigmoid_forward(context, inputs, outputs, scratch);
  else
    softmax_forward(context, inputs, outputs, scratch);
}

void contrastive_backward(const duet_context& context, const ContrastiveInputs& inputs,
                          Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                          const ContrastiveGradients& gradients, const duet_workspace& workspace) {
  if (has_relation(inputs.kind))
    return relation_backward(context, inputs, row_statistics, column_statistics, gradients, workspace);
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  if (inputs.kind == DUET_CONTRASTIVE_KIND_SIGMOID)
    sigmoid_backward(context, inputs, gradients, scratch);
  else
    softmax_backward(context, inputs, row_statistics, column_statistics, gradients, scratch);
}

}  // namespace duet::cpu
