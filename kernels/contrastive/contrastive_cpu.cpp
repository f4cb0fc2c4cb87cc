#include "kernels/contrastive/contrastive_backends.h"
#include "kernels/contrastive/contrastive_formula.h"
#include "kernels/contrastive/contrastive_sums_cpu.h"
#include "kernels/contrastive/relation_cpu.h"
#include "kernels/contrastive/sigmoid_tile_cpu.h"
#include "kernels/cpu/target_sweep.h"
#include "kernels/pairs/driver_cpu.h"
#include "kernels/pairs/plain_sums_cpu.h"

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
        target(workspace, context, sweep, n, m, in.class_a ? in.class_a.columns : 0, in.has_groups() && !sigmoid(in)),
        softmax(workspace, context, sweep, n, m),
        gradient(workspace, sweep),
        products(workspace, context, n, sweep.block_rows(), sweep.block_columns(), in.a.columns),
        scores(workspace, sweep, in.v.columns),
        tiles(workspace, context, sweep, 2),
        losses(workspace, context, sweep, n, 0, 1),
        bias(workspace, sweep),
        pairs(related_pairs(in)),
        numbers(workspace, context, sweep, related(in) ? pairs : RelatedPairs{}) {}

  static bool sigmoid(const ContrastiveInputs& in) { return in.kind == DUET_CONTRASTIVE_KIND_SIGMOID; }
  static bool related(const ContrastiveInputs& in) { return in.related && sigmoid(in); }

  void begin(const duet_context& context) {
    target.begin(context, agreement(), inputs.trust_a, inputs.trust_v);
    if (related(inputs)) numbers.begin(pairs);
  }
  void begin_products(const ContrastiveGradients& out) {
    const auto factor = [](Vector<const float> given) { return given ? given[0] : 1; };
    products.begin(inputs.a, inputs.v, out.a, out.v, factor(inputs.grad_factor_a), factor(inputs.grad_factor_v));
  }

  void pack(const duet_context& context, const Block& block) { scores.pack(context, block, inputs.v); }

  // The thread's tile of a_i.v_j.
  Matrix<float> fill(const Tile& tile, int thread) const {
    const Matrix<float> out = tiles.tile(tile, thread);
    scores.fill(tile, inputs.a, out);
    return out;
  }

  // The thread's tile of the sigmoid's W.
  Matrix<float> fill_weights(const Tile& tile, int thread) const {
    const Matrix<float> out = tiles.tile(tile, thread, 1);
    target.fill(tile, out);
    for_each_own_pair(agreement(), tile, [&](int64_t r, int64_t c) { out.row(r)[c] = 1; });
    return out;
  }

  PairTile related(const Tile& tile, int thread, Matrix<const float> dots) const {
    return numbers.tile(pairs, tile, thread, dots);
  }

  // Groups and left-out own pairs are the softmax's here, the sigmoid has them of its relation.
  Agreement agreement() const {
    Agreement out{inputs.class_a, inputs.class_v, inputs.paired, inputs.first_row, inputs.first_column};
    out.annotated = inputs.annotated;
    if (sigmoid(inputs)) return out;
    out.excluded = inputs.exclude_own, out.paired = inputs.paired || inputs.exclude_own;
    out.group_a = inputs.group_a, out.group_v = inputs.group_v;
    return out;
  }

  const ContrastiveInputs& inputs;
  int64_t n, m;
  Sweep sweep;
  SoftmaxSweep sums;
  OwnScores own;
  TargetSweep target;
  SoftmaxBackward softmax;
  ScoreGradient gradient;
  BlockGradients products;
  BlockScores scores;
  ThreadTiles tiles;  // the dots, and the sigmoid's W
  PlainSums losses;   // of the sigmoid's rows
  SlotSum bias;       // d loss/d bias
  RelatedPairs pairs;
  PairNumbers numbers;  // of the sigmoid's groups
};

struct SoftmaxForward {
  const duet_context& context;
  const ContrastiveOutputs& out;
  Scratch& scratch;
  float factor;  // of the dots as the sums see them

  void pack(const Block& block) { scratch.pack(context, block); }
  void take(const Tile& tile, int thread) {
    const Matrix<float> dots = scratch.fill(tile, thread);
    scratch.own.leave_out(tile, dots);
    scratch.sums.take(tile, thread, dots);
    scratch.target.take(tile, thread, dots, factor, Entropy::no);
  }
  void merge(const Block& block) {
    scratch.sums.merge(context, block);
    scratch.target.merge(context, block);
  }
  void row(int64_t i) {
    const MergedSums sums = sums_of(scratch.sums.row(i), scratch.own.of_row(i), scratch.target.row(i));
    if (out.row_sums)
      sums.store(out.row_sums.row(i));
    else
      out.row_loss[i] = close_softmax(sums, out.row_statistics.row(i));
  }
  void column(int64_t j) {
    const MergedSums sums = sums_of(scratch.sums.column(j), scratch.own.of_column(j), scratch.target.column(j));
    if (out.column_sums)
      sums.store(out.column_sums.row(j));
    else
      out.column_loss[j] = close_softmax(sums, out.column_statistics.row(j));
  }
  static MergedSums sums_of(const LogSum& others, const OwnScores::Own& own, const TargetSum& positives) {
    return softmax_sums(others, own.others, own.there, own.score, positives);
  }
};

void softmax_forward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveOutputs& out,
                     Scratch& scratch) {
  const float scale = in.scale[0], bound = score_bound(context, scale, in.a, in.v);
  const float factor = scratch.own.begin(scratch.agreement(), bound, scale);
  scratch.sums.begin(bound, factor);
  scratch.begin(context);
  pairs_forward(context, scratch.sweep, scratch.n, scratch.m, SoftmaxForward{context, out, scratch, factor});
}

struct SoftmaxBackward {
  const duet_context& context;
  Matrix<const float> row_statistics, column_statistics;
  const ContrastiveGradients& out;
  Scratch& scratch;
  float scale;

  void pack(const Block& block) { scratch.pack(context, block); }
  double form(const Tile& tile, int thread, Matrix<float> gradient) {
    const Matrix<float> dots = scratch.fill(tile, thread);
    scratch.softmax.add(tile, thread, dots, scale, Accumulate::no, gradient);
    scratch.target.subtract(tile, thread, gradient);
    const auto confident = [](const float* statistics) { return statistics[kLogOdds] > 0; };
    for_each_own_pair(scratch.agreement(), tile, [&](int64_t r, int64_t c) {
      if (scratch.inputs.exclude_own) {
        gradient.row(r)[c] = 0;
        return;
      }
      const int64_t i = tile.first_row + r, j = tile.first_column + c;
      const float *row = row_statistics.row(i), *column = column_statistics.row(j);
      if (!confident(row) && !confident(column)) return;
      const double sum = own_score_gradient(row, weight_of(row, out.row_weight, i)) +
                         own_score_gradient(column, weight_of(column, out.column_weight, j));
      gradient.row(r)[c] = static_cast<float>(sum);
    });
    return scale_gradient(dots, scale, gradient);
  }
  void add(const Block& block, Matrix<float> gradient) { scratch.products.add(context, block, gradient); }
};

void softmax_backward(const duet_context& context, const ContrastiveInputs& in, Matrix<const float> row_statistics,
                      Matrix<const float> column_statistics, const ContrastiveGradients& out, Scratch& scratch) {
  const bool rows = bool(out.row_weight), columns = bool(out.column_weight);
  if (!rows && !columns) return;
  scratch.softmax.begin(rows, columns);
  scratch.begin(context);
  scratch.begin_products(out);
  for (int64_t i = 0; i < scratch.n; ++i) {
    const float* statistics = row_statistics.row(i);
    const float weight = weight_of(statistics, out.row_weight, i);
    scratch.softmax.set_row(i, statistics[kLogSum], weight);
    scratch.target.set_row(i, weight == 0 ? 0 : weight / statistics[kPositives]);
  }
  for (int64_t j = 0; j < scratch.m; ++j) {
    const float* statistics = column_statistics.row(j);
    const float weight = weight_of(statistics, out.column_weight, j);
    scratch.softmax.set_column(j, statistics[kLogSum], weight);
    scratch.target.set_column(j, weight == 0 ? 0 : weight / statistics[kPositives]);
  }
  const float by_scale =
      pairs_backward(context, scratch.sweep, scratch.gradient,
                     SoftmaxBackward{context, row_statistics, column_statistics, out, scratch, in.scale[0]});
  if (out.scale) out.scale[0] += by_scale;
}

struct SigmoidForward {
  const duet_context& context;
  const ContrastiveInputs& in;
  const ContrastiveOutputs& out;
  Scratch& scratch;

  void pack(const Block& block) { scratch.pack(context, block); }
  void take(const Tile& tile, int thread) {
    const Matrix<float> dots = scratch.fill(tile, thread), weights = scratch.fill_weights(tile, thread);
    float* sums = scratch.losses.of_rows(thread).sum;
    if (in.related)
      related_sigmoid_sums(scratch.related(tile, thread, dots), in.bias[0], weights, sums);
    else
      sigmoid_sums(dots, in.scale[0], in.bias[0], weights, sums);
    scratch.losses.take(tile, thread);
  }
  void merge(const Block&) {}
  void row(int64_t i) { out.row_loss[i] = static_cast<float>(scratch.losses.row(i)[0]); }
  void column(int64_t) {}
};

void sigmoid_forward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveOutputs& out,
                     Scratch& scratch) {
  scratch.begin(context);
  scratch.losses.begin();
  pairs_forward(context, scratch.sweep, scratch.n, 0, SigmoidForward{context, in, out, scratch});
}

struct SigmoidBackward {
  const duet_context& context;
  const ContrastiveInputs& in;
  const ContrastiveGradients& out;
  Scratch& scratch;

  void pack(const Block& block) { scratch.pack(context, block); }
  double form(const Tile& tile, int thread, Matrix<float> gradient) {
    const Matrix<float> dots = scratch.fill(tile, thread), weights = scratch.fill_weights(tile, thread);
    const float* row_weight = out.row_weight.data + tile.first_row;
    const double by_bias = in.related ? related_sigmoid_gradient(scratch.related(tile, thread, dots), in.bias[0],
                                                                 weights, row_weight, gradient)
                                      : sigmoid_gradient(dots, in.scale[0], in.bias[0], weights, row_weight, gradient);
    scratch.bias.add(tile, by_bias);
    return scale_gradient(dots, in.scale[0], gradient);
  }
  void add(const Block& block, Matrix<float> gradient) { scratch.products.add(context, block, gradient); }
};

void sigmoid_backward(const duet_context& context, const ContrastiveInputs& in, const ContrastiveGradients& out,
                      Scratch& scratch) {
  if (!out.row_weight) return;
  scratch.begin_products(out);
  scratch.begin(context);
  scratch.bias.begin();
  const float by_scale =
      pairs_backward(context, scratch.sweep, scratch.gradient, SigmoidBackward{context, in, out, scratch});
  if (out.scale) out.scale[0] += by_scale;
  if (out.bias) out.bias[0] += scratch.bias.value();
}

}  // namespace

size_t contrastive_workspace(const duet_context& context, const ContrastiveInputs& inputs) {
  if (is_formula(inputs)) return relation_workspace(context, inputs);
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void contrastive_forward(const duet_context& context, const ContrastiveInputs& inputs,
                         const ContrastiveOutputs& outputs, const duet_workspace& workspace) {
  if (is_formula(inputs)) return relation_forward(context, inputs, outputs, workspace);
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  if (Scratch::sigmoid(inputs))
    sigmoid_forward(context, inputs, outputs, scratch);
  else
    softmax_forward(context, inputs, outputs, scratch);
}

void contrastive_backward(const duet_context& context, const ContrastiveInputs& inputs,
                          Matrix<const float> row_statistics, Matrix<const float> column_statistics,
                          const ContrastiveGradients& gradients, const duet_workspace& workspace) {
  if (is_formula(inputs))
    return relation_backward(context, inputs, row_statistics, column_statistics, gradients, workspace);
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  if (Scratch::sigmoid(inputs))
    sigmoid_backward(context, inputs, gradients, scratch);
  else
    softmax_backward(context, inputs, row_statistics, column_statistics, gradients, scratch);
}

}  // namespace duet::cpu
