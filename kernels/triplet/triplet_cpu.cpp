// Rows are taken in blocks of at most 128. A block's distances and agreement are products; then its rows are spread
// over the threads in groups of 16, each row is mined or sorted on its own and leaves its loss, or its row of dL/dD,
// from which the block's products make the gradients. Forward and backward take the same blocks, so that both see the
// same distances to the last bit.
#include <algorithm>
#include <limits>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/row_block.h"
#include "kernels/cpu/thread_scratch.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/distance/distance_gradient_cpu.h"
#include "kernels/triplet/triplet_backends.h"
#include "kernels/triplet/triplet_row_cpu.h"

namespace duet::cpu {
namespace {

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const TripletInputs& in)
      : n(in.x.rows),
        m(in.y.rows),
        draws(in.mining == DUET_TRIPLET_MINING_DISTANCE_WEIGHTED),
        height(row_block_rows(n, m)),
        tiles(workspace, in.metric, n, m, in.x.columns),
        gradients(workspace, context, in.metric, n, m, in.x.columns, height, m),
        distances(workspace.take_matrix<float>(height, row_block_stride(m))),
        g(workspace.take_matrix<float>(height, row_block_stride(m))),
        class_storage(workspace.take<float>(in.soft ? packed_size(m, in.class_y.columns) : 0)),
        labels(workspace, context.threads, in.numbers(), m),
        rows(workspace, context.threads, in.mining == DUET_TRIPLET_MINING_ALL ? m : 0),
        semihard(workspace, context.threads, in.mining == DUET_TRIPLET_MINING_SEMIHARD ? m : 0),
        draw(workspace, context.threads, draws ? m : 0),
        euclidean(workspace, draws ? DUET_METRIC_EUCLIDEAN : DUET_METRIC_INNER, n, m, in.x.columns),
        draw_distances(workspace.take_matrix<float>(draws ? height : 0, row_block_stride(m))),
        negatives(workspace.take_matrix<int32_t>(draws ? context.threads : 0, draws ? in.draw.slots : 0)) {}

  int64_t n, m;
  bool draws;
  int64_t height;  // rows of a block
  DistanceTiles tiles;
  DistanceGradients gradients;
  Matrix<float> distances, g;  // a block's; g holds the agreement of a row until its dL/dD takes the place
  float* class_storage;
  PackedRows classes;  // of y, where they decide
  RowRelations labels;
  ThreadScratch<TripletRowScratch> rows;
  ThreadScratch<SemihardScratch> semihard;
  ThreadScratch<DrawScratch> draw;
  // distance_weighted alone
  DistanceTiles euclidean;
  Matrix<float> draw_distances;  // a block's
  Matrix<int32_t> negatives;     // slots for each thread
};

void prepare(const duet_context& context, const TripletInputs& in, Scratch& scratch) {
  scratch.tiles.prepare(context, in.x, in.y);
  if (scratch.draws) scratch.euclidean.prepare(context, in.x, in.y);
  if (in.soft) scratch.classes = pack_rows(context, in.class_y, scratch.class_storage);
}

// to = W of the rows from row on and the columns from column on.
void fill_agreement(const TripletInputs& in, const Scratch& scratch, int64_t row, int64_t column, Matrix<float> to) {
  tile_product(in.class_x.part(row, 0, to.rows, in.class_x.columns), scratch.classes, column, to);
  for (int64_t i = 0; in.annotated && i < to.rows; ++i)
    for (int64_t j = 0; j < to.columns; ++j)
      if (in.annotated.both(row + i, column + j)) to.row(i)[j] = weight_of_annotated(to.row(i)[j]);
}

// One row of triplets: its inputs, where its distances lie, and where dL/dD goes (null in forward).
struct Row {
  int64_t i;
  const float *distances, *draw_distances;
  float* g;  // holds the agreement on entry where classes decide
  bool gradient;
  int thread;
};

RowSums mined_triplets(const TripletInputs& in, const Scratch& scratch, const Row& row, const RowLabels& of_row,
                       double scale) {
  const int32_t label = of_row.row, *labels = of_row.columns;
  MinedRow mined(row.distances, scratch.m, in.margin, row.gradient ? row.g : nullptr);
  if (in.mining == DUET_TRIPLET_MINING_HARD) {
    float distances[2];
    int32_t indices[2];
    const HardState best{distances, distances + 1, indices, indices + 1};
    best.clear(1);
    mine_hard_tile({row.distances, 1, scratch.m, scratch.m}, &label, labels, 0, 0, best, {});
    if (indices[0] >= 0 && indices[1] >= 0) mined.take(indices[0], indices[1]);
  } else if (in.mining == DUET_TRIPLET_MINING_SEMIHARD) {
    mine_semihard_row(row.distances, label, labels, scratch.m, in.margin, scratch.semihard.of(row.thread),
                      [&](int64_t p, int64_t n) {
                        if (n >= 0) mined.take(p, n);
                      });
  } else {
    const uint64_t global_row = static_cast<uint64_t>(in.first_row + row.i),
                   total = static_cast<uint64_t>(in.draw.total_columns);
    const RowDraw draw{in.draw.seed, static_cast<uint32_t>(in.draw.step[0]), in.draw.slots, in.x.columns,
                       global_row * total + static_cast<uint64_t>(in.first_column)};
    int32_t* negatives = scratch.negatives.row(row.thread);
    draw_negatives(row.draw_distances, label, labels, scratch.m, draw, scratch.draw.of(row.thread), negatives);
    for (int64_t slot = 0; slot < draw.slots; ++slot)
      for (int64_t p = 0; p < scratch.m && negatives[slot] >= 0; ++p)
        if (labels[p] == label) mined.take(p, negatives[slot]);
  }
  return mined.finish(scale);
}

// The columns that weigh where classes decide, as gather_soft numbers them.
int64_t gather_by_classes(const TripletInputs& in, const Scratch& scratch, const Row& row,
                          const TripletRowScratch& to) {
  const int64_t column = in.first_row + row.i - in.first_column;
  const int64_t pair = in.paired && !in.exclude_own && column >= 0 && column < scratch.m ? column : -1;
  if (!in.numbers().related()) return gather_soft(row.distances, row.g, in.trust_y, pair, scratch.m, to);
  int32_t* const relation = scratch.labels.write(row.i, row.thread);
  if (pair >= 0) relation[pair] = kAlike;
  return gather_related(row.distances, row.g, in.trust_y, relation, scratch.m, to);
}

RowSums triplets_of_row(const TripletInputs& in, const Scratch& scratch, const Row& row, double scale) {
  const TripletRowScratch own = scratch.rows.of(row.thread);
  const bool all = in.mining == DUET_TRIPLET_MINING_ALL;
  const RowLabels labels = in.soft ? RowLabels{} : scratch.labels.of(row.i, row.thread);
  int64_t weighing = 0;
  if (in.soft)
    weighing = gather_by_classes(in, scratch, row, own);
  else if (all)
    weighing = gather_labelled(row.distances, labels.row, labels.columns, scratch.m, own);
  else if (nan_decides(row.distances, labels.row, labels.columns, scratch.m))
    weighing = -1;
  if (weighing < 0) {
    constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
    if (row.gradient) std::fill_n(row.g, scratch.m, kNaN);
    return {kNaN, kNaN};
  }
  if (!all) return mined_triplets(in, scratch, row, labels, scale);
  return triplets_all(scratch.m, weighing, in.margin, in.trust_x ? in.trust_x[row.i] : 1, scale,
                      row.gradient ? row.g : nullptr, own);
}

// use(group as a tile, the sums of its rows) for every group, then finish(block). gradient: rows of g become scale
// dL/dD.
template <class Use, class Finish>
void for_each_group(const duet_context& context, const TripletInputs& in, Scratch& scratch, bool gradient, double scale,
                    Use&& use, Finish&& finish) {
  for (int64_t first = 0; first < scratch.n; first += scratch.height) {
    const int64_t rows = std::min(scratch.height, scratch.n - first);
    const Block block{first, rows, 0, scratch.m, ceil_div(rows, kGroupRows)};
    for_each_tile_of_rows(
        context, rows, scratch.m, [&](int64_t row, int64_t row_count, int64_t column, int64_t columns) {
          scratch.tiles.fill(first + row, column, scratch.distances.part(row, column, row_count, columns));
          if (scratch.draws)
            scratch.euclidean.fill(first + row, column, scratch.draw_distances.part(row, column, row_count, columns));
          if (in.soft)
            fill_agreement(in, scratch, first + row, column, scratch.g.part(row, column, row_count, columns));
        });
    parallel_chunks(context, rows, kGroupRows, [&](int64_t start, int64_t count, int thread) {
      RowSums sums[kGroupRows];
      for (int64_t i = start; i < start + count; ++i)
        sums[i - start] = triplets_of_row(
            in, scratch,
            {first + i, scratch.distances.row(i), scratch.draws ? scratch.draw_distances.row(i) : nullptr,
             scratch.g.row(i), gradient, thread},
            scale);
      use(Tile{first + start, count, 0, scratch.m, start / kGroupRows, start, 0}, sums);
    });
    finish(block);
  }
}

// The groups with their gradients: adds scale d sum row_loss / dx into grad_x, likewise grad_y.
template <class Use>
void with_gradients(const duet_context& context, const TripletInputs& in, Scratch& scratch, double scale, Use&& use,
                    Matrix<float> grad_x, Matrix<float> grad_y) {
  scratch.gradients.begin(scratch.tiles, grad_x, grad_y);
  for_each_group(
      context, in, scratch, true, scale,
      [&](const Tile& group, const RowSums* sums) {
        use(group, sums);
        const auto g = scratch.g.part(group.block_row, 0, group.rows, group.columns);
        scratch.gradients.take_tile(group, scratch.distances.part(group.block_row, 0, group.rows, group.columns), g, g);
      },
      [&](const Block& block) {
        scratch.gradients.add_block(context, block, scratch.g.part(0, 0, block.rows, block.columns));
      });
  scratch.gradients.finish(context);
}

}  // namespace

size_t triplet_workspace(const duet_context& context, const TripletInputs& inputs) {
  Workspace measure;
  Scratch(measure, context, inputs);
  return measure.used();
}

void triplet_forward(const duet_context& context, const TripletInputs& inputs, Vector<float> row_loss,
                     Vector<float> row_active, Matrix<float> sum_x, Matrix<float> sum_y,
                     const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  prepare(context, inputs, scratch);
  const bool gradient = sum_x || sum_y;
  for (const Matrix<float>& sum : {sum_x, sum_y})
    for (int64_t i = 0; sum && i < sum.rows; ++i) std::fill_n(sum.row(i), sum.columns, 0.0f);
  const auto write = [&](const Tile& group, const RowSums* sums) {
    for (int64_t i = 0; i < group.rows; ++i) {
      row_loss[group.first_row + i] = static_cast<float>(sums[i].loss);
      row_active[group.first_row + i] = static_cast<float>(sums[i].active);
    }
  };
  if (gradient)
    with_gradients(context, inputs, scratch, 1, write, sum_x, sum_y);
  else
    for_each_group(context, inputs, scratch, false, 0, write, [](const Block&) {});
}

void triplet_add_gradient(const duet_context& context, Vector<const float> active, Vector<const float> grad_loss,
                          const TripletSums& x, const TripletSums& y) {
  if (active[0] == 0) return;  // T = 0 (METHOD.md 3)
  const float factor = static_cast<float>(static_cast<double>(grad_loss[0]) / active[0]);
  constexpr int64_t kChunk = 65536;  // elements of a work item: some 10 us
  for (const TripletSums& side : {x, y}) {
    if (!side.grad) continue;
    for_each_run(context, side.grad.rows, side.grad.columns, contiguous(side.sum) && contiguous(side.grad), kChunk,
                 [&](int64_t i, int64_t j, int64_t count) {
                   float* to = side.grad.row(i) + j;
                   const float* from = side.sum.row(i) + j;
                   for (int64_t k = 0; k < count; ++k) to[k] += factor * from[k];
                 });
  }
}

void triplet_loss(const duet_context&, Vector<const float> row_loss, Vector<const float> row_active, Vector<float> loss,
                  Vector<float> active) {
  double total = 0, weight = 0;
  for (int64_t i = 0; i < row_loss.size; ++i) total += row_loss[i], weight += row_active[i];
  loss[0] = weight == 0 ? 0.0f : static_cast<float>(total / weight);
  active[0] = static_cast<float>(weight);
}

void triplet_backward(const duet_context& context, const TripletInputs& inputs, Vector<const float> active,
                      Vector<const float> grad_loss, Matrix<float> grad_x, Matrix<float> grad_y,
                      const duet_workspace& workspace) {
  if (active[0] == 0) return;  // T = 0 (METHOD.md 3)
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs);
  prepare(context, inputs, scratch);
  with_gradients(
      context, inputs, scratch, static_cast<double>(grad_loss[0]) / active[0], [](const Tile&, const RowSums*) {},
      grad_x, grad_y);
}

}  // namespace duet::cpu
