#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/alignment/alignment_backends.h"
#include "kernels/distance/distance_gradient_cpu.h"
#include "kernels/pairs/driver_cpu.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const AlignmentInputs& in)
      : n(in.a.rows),
        m(in.v.rows),
        sweep(n, m, Sweep::kWide),
        tiles(workspace, in.score, n, m, in.a.columns),
        gradients(workspace, context, in.score, n, m, in.a.columns, sweep.block_rows(), sweep.block_columns()),
        sums(workspace, context, sweep, n, m),
        own(workspace, n, m),
        softmax(workspace, context, sweep, n, m),
        gradient(workspace, sweep),
        dots(workspace, context, sweep, 1),
        rows(workspace.take<ProbabilityRow>(n)) {}

  // The thread's tile, filled with products or distances.
  Matrix<float> fill(const Tile& tile, int thread) const {
    const Matrix<float> out = dots.tile(tile, thread);
    tiles.fill(tile.first_row, tile.first_column, out);
    return out;
  }

  int64_t n, m;
  Sweep sweep;
  DistanceTiles tiles;
  DistanceGradients gradients;
  SoftmaxSweep sums;
  OwnScores own;
  SoftmaxBackward softmax;
  ScoreGradient gradient;
  ThreadTiles dots;
  ProbabilityRow* rows;  // n
};

// In lanes that the compiler makes vectors of. own: the column that takes no part, or count; its dP is not read.
ProbabilityRow probability_row(const float* p, const float* grad, int64_t count, int64_t own) {
  constexpr int64_t kLanes = 8;
  float largest[kLanes];
  std::fill_n(largest, kLanes, -1.0f);
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) largest[l] = p[j + l] > largest[l] ? p[j + l] : largest[l];
  for (; j < count; ++j) largest[0] = p[j] > largest[0] ? p[j] : largest[0];
  const float most = *std::max_element(largest, largest + kLanes);
  const int64_t at = std::find(p, p + count, most) - p;
  const double pivot = at < count && at != own ? grad[at] : 0;  // none where all are NaN
  double sums[kLanes] = {};
  for (j = 0; j < count; j = std::max(j, own) + 1) {
    const int64_t end = j <= own ? own : count;
    for (; j + kLanes <= end; j += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) sums[l] += p[j + l] * (pivot - grad[j + l]);
    for (; j < end; ++j) sums[0] += p[j] * (pivot - grad[j]);
  }
  double rest = 0;
  for (const double sum : sums) rest += sum;
  return {static_cast<float>(pivot), static_cast<float>(rest)};
}

// No score is larger, in size; NaN where a row holds NaN.
float score_bound(const duet_context& context, const DistanceTiles& tiles, float scale) {
  const float x = norm_bound(context, tiles.x()), y = norm_bound(context, tiles.y()), size = std::abs(scale);
  switch (tiles.metric()) {
    case DUET_METRIC_SQEUCLIDEAN: return size * (x + y) * (x + y);
    case DUET_METRIC_EUCLIDEAN: return size * (x + y);
    case DUET_METRIC_COSINE: return size * (1 + x * y);
    default: return size * x * y;
  }
}

// A distance counts negatively.
float signed_scale(const AlignmentInputs& inputs) {
  return inputs.score == DUET_METRIC_INNER ? inputs.scale[0] : -inputs.scale[0];
}

// The own pairs, which take no part where there are any.
Agreement own_pairs_of(const AlignmentInputs& in) {
  return {{}, {}, in.exclude_own, in.first_row, in.first_column, in.exclude_own};
}

// An element of every own pair in the tile, which is of the tile's size, becomes 0.
void clear_own(const Agreement& own_pairs, const Tile& tile, Matrix<float> of_tile) {
  for_each_own_pair(own_pairs, tile, [&](int64_t r, int64_t c) { of_tile.row(r)[c] = 0; });
}

struct Forward {
  const duet_context& context;
  Vector<float> lse_row, lse_column;
  Scratch& scratch;

  void pack(const Block&) {}
  void take(const Tile& tile, int thread) {
    const Matrix<float> dots = scratch.fill(tile, thread);
    scratch.own.leave_out(tile, dots);
    scratch.sums.take(tile, thread, dots);
  }
  void merge(const Block& block) { scratch.sums.merge(context, block); }
  void row(int64_t i) { lse_row[i] = static_cast<float>(scratch.own.row_log_sum(i, scratch.sums.row(i))); }
  void column(int64_t j) { lse_column[j] = static_cast<float>(scratch.own.column_log_sum(j, scratch.sums.column(j))); }
};

// What all backward passes share; form_scores(tile, thread, dots, gradient) writes d loss/d score, own pairs' to be
// cleared.
template <class FormScores>
struct Backward {
  const duet_context& context;
  Scratch& scratch;
  float scale;
  Agreement own_pairs;
  FormScores form_scores;

  void pack(const Block&) {}
  double form(const Tile& tile, int thread, Matrix<float> gradient) {
    const Matrix<float> dots = scratch.fill(tile, thread);
    form_scores(tile, thread, dots, gradient);
    clear_own(own_pairs, tile, gradient);
    const double by_scale = scale_gradient(dots, scale, gradient);
    scratch.gradients.take_tile(tile, dots, gradient, gradient);
    return by_scale;
  }
  void add(const Block& block, Matrix<float> gradient) { scratch.gradients.add_block(context, block, gradient); }
};

template <class FormScores>
void backward(const duet_context& context, const AlignmentInputs& inputs, const AlignmentGradients& out,
              Scratch& scratch, FormScores form_scores) {
  scratch.tiles.prepare(context, inputs.a, inputs.v);
  scratch.gradients.begin(scratch.tiles, out.a, out.v);
  const float by_scale =
      pairs_backward(context, scratch.sweep, scratch.gradient,
                     Backward<FormScores>{context, scratch, signed_scale(inputs), own_pairs_of(inputs), form_scores});
  scratch.gradients.finish(context);
  if (out.scale) out.scale[0] += inputs.score == DUET_METRIC_INNER ? by_scale : -by_scale;
}

}  // namespace

size_t alignment_workspace(const duet_context& context, const AlignmentInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void alignment_forward(const duet_context& context, const AlignmentInputs& inputs, Vector<float> lse_row,
                       Vector<float> lse_column, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  const float scale = signed_scale(inputs);
  scratch.tiles.prepare(context, inputs.a, inputs.v);
  const float bound = score_bound(context, scratch.tiles, scale);
  scratch.sums.begin(bound, scratch.own.begin(own_pairs_of(inputs), bound, scale));
  pairs_forward(context, scratch.sweep, lse_row ? scratch.n : 0, lse_column ? scratch.m : 0,
                Forward{context, lse_row, lse_column, scratch});
}

void alignment_backward(const duet_context& context, const AlignmentInputs& inputs, Vector<const float> lse_row,
                        Vector<const float> lse_column, Vector<const float> grad_lse_row,
                        Vector<const float> grad_lse_column, const AlignmentGradients& gradients,
                        const duet_workspace& workspace) {
  if (!grad_lse_row && !grad_lse_column) return;
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  scratch.softmax.begin(bool(grad_lse_row), bool(grad_lse_column));
  if (grad_lse_row)
    for (int64_t i = 0; i < scratch.n; ++i) scratch.softmax.set_row(i, lse_row[i], grad_lse_row[i]);
  if (grad_lse_column)
    for (int64_t j = 0; j < scratch.m; ++j) scratch.softmax.set_column(j, lse_column[j], grad_lse_column[j]);
  const float scale = signed_scale(inputs);
  backward(context, inputs, gradients, scratch,
           [&](const Tile& tile, int thread, Matrix<const float> dots, Matrix<float> gradient) {
             scratch.softmax.add(tile, thread, dots, scale, Accumulate::no, gradient);
           });
}

void alignment_probabilities(const duet_context& context, const AlignmentInputs& inputs, Vector<const float> lse_row,
                             Matrix<float> probabilities, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  const float scale = signed_scale(inputs);
  scratch.tiles.prepare(context, inputs.a, inputs.v);
  scratch.softmax.begin(true, false);
  for (int64_t i = 0; i < scratch.n; ++i) scratch.softmax.set_row(i, lse_row[i], 1);
  scratch.sweep.run(
      context,
      [&](const Tile& tile, int thread) {
        const Matrix<float> p = scratch.fill(tile, thread);
        scratch.softmax.add(tile, thread, p, scale, Accumulate::no, p);
        clear_own(own_pairs_of(inputs), tile, p);
        for (int64_t r = 0; r < tile.rows; ++r)
          std::memcpy(probabilities.row(tile.first_row + r) + tile.first_column, p.row(r),
                      sizeof(float) * static_cast<size_t>(tile.columns));
      },
      [](const Block&) {});
}

void alignment_probabilities_backward(const duet_context& context, const AlignmentInputs& inputs,
                                      Matrix<const float> probabilities, Matrix<const float> grad_probabilities,
                                      const AlignmentGradients& gradients, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  constexpr int64_t kRows = 64;  // of a work item
  parallel_chunks(context, scratch.n, kRows, [&](int64_t first, int64_t count, int) {
    for (int64_t i = first; i < first + count; ++i) {
      const int64_t own = i + inputs.first_row - inputs.first_column;
      const bool left_out = inputs.exclude_own && own >= 0 && own < scratch.m;
      scratch.rows[i] =
          probability_row(probabilities.row(i), grad_probabilities.row(i), scratch.m, left_out ? own : scratch.m);
    }
  });
  backward(context, inputs, gradients, scratch,
           [&](const Tile& tile, int, Matrix<const float>, Matrix<float> gradient) {
             for (int64_t r = 0; r < tile.rows; ++r) {
               const int64_t i = tile.first_row + r;
               const float *p = probabilities.row(i) + tile.first_column,
                           *grad = grad_probabilities.row(i) + tile.first_column;
               const ProbabilityRow row = scratch.rows[i];
               for (int64_t c = 0; c < tile.columns; ++c)
                 gradient.row(r)[c] = p[c] * ((grad[c] - row.pivot) + row.rest);
             }
           });
}

}  // namespace duet::cpu
