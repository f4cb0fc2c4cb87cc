// Semihard and distance_weighted mining: a block of threads owns a row of distances; hard is mining_hard_cuda.cu's.
// Bytes: 4 a distance, written and read once through L2, in blocks of at most 2^24.
// Products: one, the distances. PLAN.md has the figures.
#include "kernels/cuda/block_scan.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/row_blocks.h"
#include "kernels/distance/distance_backends.h"
#include "kernels/mining/mining_rows_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 128;

// offsets[i + 1] = the positives of row i, of n rows and m columns. One warp a row.
template <Relating kRelating>
__global__ void __launch_bounds__(kThreads)
    count_positives(RelationNumbers numbers, int64_t n, int64_t m, int64_t* offsets) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (i >= n) return;
  const Anchor<kRelating> anchor(nullptr, m, numbers, i);
  int32_t same = 0;  // below 2^31 columns
  for (int64_t j = threadIdx.x % 32; j < m; j += 32) same += anchor.positive(j);
  same = warp_sum(same);
  if (threadIdx.x % 32 == 0) offsets[i + 1] = same;
}

// offsets[i + 1] becomes the positives of rows 0 .. i, offsets[0] 0; the last is written to count as well. One block.
__global__ void __launch_bounds__(kThreads) sum_counts(int64_t* offsets, int64_t n, int64_t* count) {
  int64_t carry = 0;
  for (int64_t first = 0; first < n; first += kThreads) {
    const int64_t i = first + threadIdx.x;
    const int64_t own = i < n ? offsets[i + 1] : 0;
    int64_t whole;
    const int64_t before = block_sum_before(own, whole);
    if (i < n) offsets[i + 1] = carry + before + own;
    carry += whole;
  }
  if (threadIdx.x != 0) return;
  offsets[0] = 0;
  count[0] = carry;
}

struct SemihardList {
  Matrix<const float> distances;  // of the rows
  RelationNumbers numbers;
  const int64_t* offsets;  // of the rows
  int64_t first_row;
  float margin;
  Matrix<int32_t> triplets;
  Matrix<float> values;  // without data: not wanted

  template <Relating kRelating>
  __device__ Anchor<kRelating> anchor(int64_t row) const {
    return {distances.row(row), distances.columns, numbers, row};
  }
};

// For whole blocks.
template <Relating kRelating, bool kShared>
__device__ void list_row(const SemihardList& list, int64_t row, const Anchor<kRelating>& anchor,
                         const SortedRow<kShared>& negatives) {
  int64_t at = list.offsets[row];
  for (int64_t first = 0; first < anchor.m; first += blockDim.x) {
    const int64_t p = first + threadIdx.x;
    const bool positive = p < anchor.m && anchor.positive(p);
    int32_t whole;
    const int32_t before = block_sum_before(positive ? 1 : 0, whole);
    if (positive) {
      const float distance = anchor.distances[p];
      const int32_t n = nearest_beyond(negatives, distance, list.margin);
      int32_t* triplet = list.triplets.row(at + before);
      triplet[0] = static_cast<int32_t>(list.first_row + row), triplet[1] = static_cast<int32_t>(p), triplet[2] = n;
      if (list.values) {
        float* values = list.values.row(at + before);
        values[0] = distance;
        values[1] = n < 0 ? NAN : anchor.distances[n];
      }
    }
    at += whole;
  }
}

template <Relating kRelating>
__global__ void __launch_bounds__(1024) list_rows(SemihardList list, int size) {
  DUET_SHARED_DYNAMIC(uint64_t, keys);
  const auto anchor = list.template anchor<kRelating>(blockIdx.x);
  list_row(list, blockIdx.x, anchor, sort_negatives(anchor, keys, size));
}

template <Relating kRelating>
__global__ void __launch_bounds__(kThreads) list_long_rows(SemihardList list, const uint64_t* sorted) {
  const int64_t row = blockIdx.x, m = list.distances.columns;
  list_row(list, row, list.template anchor<kRelating>(row), SortedRow<false>{sorted + row * m, m});
}

template <Relating kRelating>
__global__ void __launch_bounds__(kThreads) write_negative_keys(SemihardList list, uint64_t* keys) {
  const auto anchor = list.template anchor<kRelating>(blockIdx.x);
  for (int64_t j = threadIdx.x; j < anchor.m; j += blockDim.x)
    keys[blockIdx.x * anchor.m + j] = negative_key(anchor, j);
}

struct Draws {
  Matrix<const float> distances;  // of the rows, Euclidean
  RelationNumbers numbers;
  RowDraw first;  // of the first row, step apart
  const int64_t* step;
  uint64_t total_columns;
  Matrix<int32_t> negatives;  // of the rows
  Matrix<float> values;
};

template <Relating kRelating>
__global__ void __launch_bounds__(kThreads) draw_rows(Draws draws) {
  const int64_t row = blockIdx.x;
  const Anchor<kRelating> anchor(draws.distances.row(row), draws.distances.columns, draws.numbers, row);
  RowDraw draw = draws.first;
  draw.step = static_cast<uint32_t>(*draws.step);
  draw.first_element += static_cast<uint64_t>(row) * draws.total_columns;
  for (int64_t slot = 0; slot < draws.negatives.columns; ++slot) {
    const int32_t j = draw_negative(anchor, draw, slot);
    if (threadIdx.x != 0) continue;
    draws.negatives.row(row)[slot] = j;
    if (draws.values) draws.values.row(row)[slot] = j < 0 ? NAN : anchor.distances[j];
  }
}

struct Scratch {
  Scratch(Workspace& workspace, const duet_context& context, const MiningInputs& in, duet_metric metric)
      : height(block_rows(in.x.rows, in.y.rows)),
        offsets(workspace.take<int64_t>(in.x.rows + 1)),
        count(workspace.take<int64_t>(1)),
        distances(workspace.take_matrix<float>(height, in.y.rows)),
        long_rows(workspace, context, in.x.rows, in.y.rows) {
    tile_bytes = distance_workspace(context, {in.x.part(0, 0, height, in.x.columns), in.y, metric});
    tiles = workspace.take<char>(static_cast<int64_t>(tile_bytes));
  }

  int64_t height;
  int64_t *offsets, *count;
  Matrix<float> distances;
  LongRows long_rows;
  void* tiles;
  size_t tile_bytes;
};

// body(first row, the distances of rows from there on)
template <class Body>
void for_each_distance_block(const duet_context& context, const MiningInputs& in, duet_metric metric,
                             const Scratch& scratch, Body&& body) {
  if (in.y.rows == 0) return;
  for_each_row_block(in.x.rows, scratch.height, [&](int64_t first, int64_t rows) {
    const auto distances = scratch.distances.part(0, 0, rows, in.y.rows);
    distance_forward(context, {in.x.part(first, 0, rows, in.x.columns), in.y, metric}, distances,
                     {scratch.tiles, scratch.tile_bytes});
    body(first, distances);
  });
}

void count_pairs(const duet_context& context, const MiningInputs& in, int64_t* offsets, int64_t* count) {
  with_relating(in.numbers(), [&](auto relating) {
    constexpr Relating kRelating = decltype(relating)::value;
    DUET_LAUNCH(count_positives<kRelating>, ceil_div(in.x.rows, kThreads / 32), kThreads, 0, context.stream)
    (in.numbers(), in.x.rows, in.y.rows, offsets);
  });
  DUET_LAUNCH(sum_counts, 1, kThreads, 0, context.stream)(offsets, in.x.rows, count);
}

}  // namespace

size_t mining_hard_workspace(const duet_context& context, const MiningInputs& inputs);

size_t mining_workspace(const duet_context& context, const MiningInputs& inputs) {
  Workspace rows, draws;
  Scratch(rows, context, inputs, inputs.metric);
  Scratch(draws, context, inputs, DUET_METRIC_EUCLIDEAN);
  return std::max({rows.used(), draws.used(), mining_hard_workspace(context, inputs)});
}

void mining_semihard_count(const duet_context& context, const MiningInputs& inputs, Vector<int64_t> count,
                           const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs, inputs.metric);
  count_pairs(context, inputs, scratch.offsets, count.data);
}

int64_t mining_semihard_length(const duet_context& context, const MiningInputs& inputs,
                               const duet_workspace& workspace) {
  if (capturing(context.stream))
    throw Error(DUET_STATUS_UNSUPPORTED,
                "outputs.triplets: its length is counted first, and a stream that is captured is not waited for");
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs, inputs.metric);
  count_pairs(context, inputs, scratch.offsets, scratch.count);
  int64_t count = 0;
  copy(&count, scratch.count, sizeof count, context.stream);
  synchronize(context.stream);
  return count;
}

void mining_semihard(const duet_context& context, const MiningInputs& inputs, float margin, Matrix<int32_t> triplets,
                     Matrix<float> distances, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs, inputs.metric);
  count_pairs(context, inputs, scratch.offsets, scratch.count);
  const int64_t m = inputs.y.rows;
  for_each_distance_block(context, inputs, inputs.metric, scratch, [&](int64_t first, Matrix<float> values) {
    const auto list_from = [&](int64_t row, int64_t rows) {
      return SemihardList{values.part(row, 0, rows, m),
                          inputs.numbers().part(first + row),
                          scratch.offsets + first + row,
                          first + row,
                          margin,
                          triplets,
                          distances};
    };
    with_relating(inputs.numbers(), [&](auto relating) {
      constexpr Relating kRelating = decltype(relating)::value;
      if (!scratch.long_rows) {
        const int size = sort_size(m);
        DUET_LAUNCH(list_rows<kRelating>, values.rows, sort_threads(m), spread<uint64_t>(size) * sizeof(uint64_t),
                    context.stream)
        (list_from(0, values.rows), size);
        return;
      }
      for_each_row_block(values.rows, scratch.long_rows.rows, [&](int64_t row, int64_t rows) {
        const SemihardList list = list_from(row, rows);
        DUET_LAUNCH(write_negative_keys<kRelating>, rows, kThreads, 0, context.stream)(list, scratch.long_rows.keys);
        const uint64_t* sorted = scratch.long_rows.sort(context, rows);
        DUET_LAUNCH(list_long_rows<kRelating>, rows, kThreads, 0, context.stream)(list, sorted);
      });
    });
  });
}

void mining_distance_weighted(const duet_context& context, const MiningInputs& inputs, const MiningDraw& draw,
                              Matrix<int32_t> negatives, Matrix<float> distances, const duet_workspace& workspace) {
  Workspace pieces(workspace);
  Scratch scratch(pieces, context, inputs, DUET_METRIC_EUCLIDEAN);
  const auto total = static_cast<uint64_t>(draw.total_columns);
  const auto part = [](auto matrix, int64_t first, int64_t rows) {
    return matrix ? matrix.part(first, 0, rows, matrix.columns) : matrix;
  };
  const auto draw_from = [&](int64_t first, Matrix<const float> euclidean, int64_t rows) {
    const RowDraw of_row{
        draw.seed, 0, inputs.x.columns,
        static_cast<uint64_t>(inputs.first_row + first) * total + static_cast<uint64_t>(inputs.first_column)};
    const Draws draws{euclidean,
                      inputs.numbers().part(first),
                      of_row,
                      draw.step.data,
                      total,
                      part(negatives, first, rows),
                      part(distances, first, rows)};
    with_relating(inputs.numbers(), [&](auto relating) {
      constexpr Relating kRelating = decltype(relating)::value;
      DUET_LAUNCH(draw_rows<kRelating>, rows, std::min(kThreads, sort_threads(inputs.y.rows)), 0, context.stream)
      (draws);
    });
  };
  if (inputs.y.rows == 0) return draw_from(0, {}, inputs.x.rows);  // nothing to draw from: -1 and NaN
  for_each_distance_block(context, inputs, DUET_METRIC_EUCLIDEAN, scratch,
                          [&](int64_t first, Matrix<float> values) { draw_from(first, values, values.rows); });
}

}  // namespace duet::cuda
