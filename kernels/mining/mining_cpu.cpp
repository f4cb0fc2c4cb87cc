#include <algorithm>
#include <limits>

#include "kernels/cpu/thread_scratch.h"
#include "kernels/distance/distance_tile_cpu.h"
#include "kernels/mining/mining_backends.h"
#include "kernels/mining/mining_rows_cpu.h"
#include "kernels/pairs/driver_cpu.h"

namespace duet::cpu {
namespace {

struct HardScratch {
  HardScratch(Workspace& workspace, const duet_context& context, const MiningInputs& in)
      : sweep(in.x.rows, in.y.rows, Sweep::kWide),
        tiles(workspace, in.metric, in.x.rows, in.y.rows, in.x.columns),
        distances(workspace.take_matrix<float>(context.threads * sweep.tile_rows(), sweep.tile_columns())),
        relation(workspace.take_matrix<int32_t>(in.numbers().related() ? distances.rows : 0, sweep.tile_columns())),
        rows(HardState::take(workspace, in.x.rows)),
        columns(HardState::take(workspace, in.y.rows)),
        partials(HardState::take(workspace, sweep.slots() * sweep.block_columns())) {}

  Sweep sweep;
  DistanceTiles tiles;
  Matrix<float> distances;   // a tile for each thread
  Matrix<int32_t> relation;  // its pairs', where groups, own pairs or sets matter
  HardState rows, columns;
  HardState partials;  // of columns, for each slot
};

// All distances of some rows, and what semihard and distance_weighted need of a row; one of each for every thread.
struct RowScratch {
  RowScratch(Workspace& workspace, const duet_context& context, const MiningInputs& in, duet_metric metric)
      : tiles(workspace, metric, in.x.rows, in.y.rows, in.x.columns),
        distances(workspace.take_matrix<float>(context.threads * rows_at_once(in.y.rows), in.y.rows)),
        offsets(workspace.take<int64_t>(in.x.rows + 1)),
        labels(workspace, context.threads, in.numbers(), in.y.rows),
        semihard(workspace, context.threads, in.y.rows),
        draws(workspace, context.threads, in.y.rows) {}

  DistanceTiles tiles;
  Matrix<float> distances;
  int64_t* offsets;
  RowRelations labels;
  ThreadScratch<SemihardScratch> semihard;
  ThreadScratch<DrawScratch> draws;
};

// body(row, its distances, thread)
template <class Body>
void for_each_row(const duet_context& context, const MiningInputs& in, RowScratch& scratch, Body&& body) {
  scratch.tiles.prepare(context, in.x, in.y);
  const int64_t height = rows_at_once(in.y.rows);
  parallel_chunks(context, in.x.rows, height, [&](int64_t first, int64_t count, int thread) {
    const auto distances = scratch.distances.part(thread * height, 0, count, in.y.rows);
    scratch.tiles.fill(first, 0, distances);
    for (int64_t i = 0; i < count; ++i) body(first + i, distances.row(i), thread);
  });
}

struct Hard {
  const MiningInputs& in;
  const MiningHardOutputs &of_rows, &of_columns;
  HardScratch& scratch;

  void pack(const Block&) {}
  void take(const Tile& tile, int thread) {
    const auto distances = scratch.distances.part(thread * scratch.sweep.tile_rows(), 0, tile.rows, tile.columns);
    scratch.tiles.fill(tile.first_row, tile.first_column, distances);
    HardState columns;
    if (of_columns) {
      columns = scratch.partials.at(tile.slot * scratch.sweep.block_columns() + tile.block_column);
      columns.clear(tile.columns);
    }
    const HardState rows = scratch.rows.at(tile.first_row);
    const RelationNumbers numbers = in.numbers();
    if (!numbers.related())
      return mine_hard_tile(distances, in.labels_x.data + tile.first_row, in.labels_y.data + tile.first_column,
                            tile.first_row, tile.first_column, rows, columns);
    const auto relation = scratch.relation.part(thread * scratch.sweep.tile_rows(), 0, tile.rows, tile.columns);
    for (int64_t i = 0; i < tile.rows; ++i)
      write_relation(numbers, tile.first_row + i, tile.first_column, tile.columns, relation.row(i));
    mine_hard_tile(distances, relation, tile.first_row, tile.first_column, rows, columns);
  }
  void merge(const Block& block) {
    if (!of_columns) return;
    for (int64_t slot = 0; slot < block.slots; ++slot)
      for (int64_t j = 0; j < block.columns; ++j)
        scratch.columns.merge(block.first_column + j, scratch.partials, slot * scratch.sweep.block_columns() + j);
  }
  void row(int64_t i) { write(scratch.rows, i, of_rows); }
  void column(int64_t j) { write(scratch.columns, j, of_columns); }

  static void write(const HardState& state, int64_t k, const MiningHardOutputs& to) {
    if (to.positive_index) to.positive_index[k] = state.positive[k];
    if (to.negative_index) to.negative_index[k] = state.negative[k];
    if (to.positive_distance) to.positive_distance[k] = state.positive_distance[k];
    if (to.negative_distance) to.negative_distance[k] = state.negative_distance[k];
  }
};

// offsets[i]: where row i's pairs begin in the list; offsets[n] is their number, returned.
int64_t count_pairs(const duet_context& context, const MiningInputs& in, const RowScratch& scratch) {
  constexpr int64_t kRows = 64;
  int64_t* const offsets = scratch.offsets;
  offsets[0] = 0;
  parallel_chunks(context, in.x.rows, kRows, [&](int64_t first, int64_t count, int thread) {
    for (int64_t i = first; i < first + count; ++i) {
      const RowLabels labels = scratch.labels.of(i, thread);
      int32_t same = 0;  // below 2^31 columns
      for (int64_t j = 0; j < in.y.rows; ++j) same += labels.row == labels.columns[j];
      offsets[i + 1] = labels.row < 0 ? 0 : same;
    }
  });
  for (int64_t i = 0; i < in.x.rows; ++i) offsets[i + 1] += offsets[i];
  return offsets[in.x.rows];
}

}  // namespace

size_t mining_workspace(const duet_context& context, const MiningInputs& inputs) {
  Workspace hard, rows, draws;
  HardScratch(hard, context, inputs);
  RowScratch(rows, context, inputs, inputs.metric);
  RowScratch(draws, context, inputs, DUET_METRIC_EUCLIDEAN);
  return std::max({hard.used(), rows.used(), draws.used()});
}

void mining_hard(const duet_context& context, const MiningInputs& inputs, const MiningHardOutputs& rows,
                 const MiningHardOutputs& columns, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  HardScratch scratch(pieces, context, inputs);
  const int64_t n = inputs.x.rows, m = inputs.y.rows;
  scratch.tiles.prepare(context, inputs.x, inputs.y);
  scratch.rows.clear(n);
  scratch.columns.clear(m);
  pairs_forward(context, scratch.sweep, rows ? n : 0, columns ? m : 0, Hard{inputs, rows, columns, scratch});
}

void mining_semihard_count(const duet_context& context, const MiningInputs& inputs, Vector<int64_t> count,
                           const duet_workspace& workspace) {
  count[0] = mining_semihard_length(context, inputs, workspace);
}

int64_t mining_semihard_length(const duet_context& context, const MiningInputs& inputs,
                               const duet_workspace& workspace) {
  Workspace pieces(workspace);
  RowScratch scratch(pieces, context, inputs, inputs.metric);
  return count_pairs(context, inputs, scratch);
}

void mining_semihard(const duet_context& context, const MiningInputs& inputs, float margin, Matrix<int32_t> triplets,
                     Matrix<float> distances, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  RowScratch scratch(pieces, context, inputs, inputs.metric);
  count_pairs(context, inputs, scratch);
  for_each_row(context, inputs, scratch, [&](int64_t i, const float* row, int thread) {
    int64_t at = scratch.offsets[i];
    const RowLabels labels = scratch.labels.of(i, thread);
    mine_semihard_row(row, labels.row, labels.columns, inputs.y.rows, margin, scratch.semihard.of(thread),
                      [&](int64_t p, int64_t n) {
                        int32_t* triplet = triplets.row(at);
                        triplet[0] = static_cast<int32_t>(i), triplet[1] = static_cast<int32_t>(p),
                        triplet[2] = static_cast<int32_t>(n);
                        if (distances) {
                          distances.row(at)[0] = row[p];
                          distances.row(at)[1] = n < 0 ? std::numeric_limits<float>::quiet_NaN() : row[n];
                        }
                        ++at;
                      });
  });
}

void mining_distance_weighted(const duet_context& context, const MiningInputs& inputs, const MiningDraw& draw,
                              Matrix<int32_t> negatives, Matrix<float> distances, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  RowScratch scratch(pieces, context, inputs, DUET_METRIC_EUCLIDEAN);
  for_each_row(context, inputs, scratch, [&](int64_t i, const float* row, int thread) {
    const RowDraw of_row{draw.seed, static_cast<uint32_t>(draw.step[0]), draw.slots, inputs.x.columns,
                         static_cast<uint64_t>(inputs.first_row + i) * static_cast<uint64_t>(draw.total_columns) +
                             static_cast<uint64_t>(inputs.first_column)};
    const RowLabels labels = scratch.labels.of(i, thread);
    draw_negatives(row, labels.row, labels.columns, inputs.y.rows, of_row, scratch.draws.of(thread), negatives.row(i));
    for (int64_t slot = 0; distances && slot < draw.slots; ++slot) {
      const int32_t j = negatives.row(i)[slot];
      distances.row(i)[slot] = j < 0 ? std::numeric_limits<float>::quiet_NaN() : row[j];
    }
  });
}

}  // namespace duet::cpu
