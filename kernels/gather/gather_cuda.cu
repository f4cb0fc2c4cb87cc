// A thread owns four neighbouring elements of an output row; backward a warp owns 128 columns of a row of grad_source.
// Bytes: 8 d + 8 a row of d columns forward, 12 d + 8 backward.
// Operations: none forward; backward every block sorts up to 8192 keys and adds rows in the order of their positions.
#include "kernels/cuda/block_sort.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/outside.h"
#include "kernels/gather/gather_backends.h"

namespace duet::cuda {
namespace {

struct CopyRows {
  Matrix<const float> source;
  Vector<const int64_t> indices;
  Matrix<float> rows;

  template <int kWidth>
  __device__ void at(int64_t i, int64_t j) const {
    const int64_t index = indices[i];
    Pack<kWidth> value;
    if (index >= 0 && index < source.rows) {
      value = load<kWidth>(source.row(index) + j);
    } else {
      for (int k = 0; k < kWidth; ++k) value.at[k] = __uint_as_float(0x7FC00000u);
    }
    store(rows.row(i) + j, value);
  }
};

struct CopyLabels {
  Vector<const int32_t> source;
  Vector<const int64_t> indices;
  Vector<int32_t> labels;

  template <int kWidth>
  __device__ void at(int64_t, int64_t j) const {
    for (int64_t k = j; k < j + kWidth; ++k)
      labels[k] = indices[k] >= 0 && indices[k] < source.size ? source[indices[k]] : -1;
  }
};

constexpr int kBatchThreads = 256, kBatchRows = kBatchThreads / 32;

struct CopyBatch {
  CopyRows copies[DUET_GATHER_SOURCES];
  CopyLabels labels;
  // Of each source: its blocks, and how many of them lie side by side.
  unsigned blocks[DUET_GATHER_SOURCES], across[DUET_GATHER_SOURCES];
  bool wide[DUET_GATHER_SOURCES];
  int count;  // of sources
};

__global__ void __launch_bounds__(kBatchThreads)
    gather_batch_kernel(CopyBatch batch, duet_fault* faults, Range<int64_t> range) {
  unsigned block = blockIdx.x;
  if (faults) {
    if (block == 0) return note_outside(faults, batch.labels.indices, range);
    --block;
  }
  int k = 0;
  while (k < batch.count && block >= batch.blocks[k]) block -= batch.blocks[k++];
  if (k == batch.count) {
    const int64_t position = int64_t{block} * kBatchThreads + threadIdx.x;
    if (position < batch.labels.labels.size) batch.labels.at<1>(0, position);
    return;
  }
  const CopyRows& copy = batch.copies[k];
  const int width = batch.wide[k] ? 4 : 1;
  const int64_t i = int64_t{block / batch.across[k]} * kBatchRows + warp_of_block(), columns = copy.rows.columns;
  const int64_t j = int64_t{block % batch.across[k] * 32 + static_cast<unsigned>(lane_of_warp())} * width;
  if (i >= copy.rows.rows) return;
  if (width == 4 && j + 4 <= columns) return copy.at<4>(i, j);
  for (int64_t c = j; c < j + width && c < columns; ++c) copy.at<1>(i, c);
}

// A piece of the batch: first is its first position.
struct AddRows {
  Vector<const int64_t> indices;
  Matrix<const float> grad_rows;
  Matrix<float> grad_source;
  int64_t first;
  int count, size;  // keys, and their number rounded up for the sort

  // The key of a row: its index, then its position in the piece. A row out of range, which occurs only in a captured
  // graph, has no key.
  static constexpr int kPositionBits = 13;
  static_assert(kLargestSort == 1 << kPositionBits);
  __device__ uint64_t key(int position) const {
    const int64_t index = position < count ? indices[first + position] : -1;
    return index >= 0 && index < grad_source.rows
               ? static_cast<uint64_t>(index) << kPositionBits | static_cast<uint64_t>(position)
               : kNoKey;
  }
  __device__ static int64_t index_of(uint64_t key) { return static_cast<int64_t>(key >> kPositionBits); }
  __device__ const float* row_of(uint64_t key) const {
    return grad_rows.row(first + static_cast<int64_t>(key & ((1 << kPositionBits) - 1)));
  }
};

constexpr int kLoads = 4;  // loads of rows of one index that are in flight

template <int kWidth>
__global__ void __launch_bounds__(1024) add_rows_kernel(AddRows piece) {
  DUET_SHARED_DYNAMIC(uint64_t, keys);
  for (int k = static_cast<int>(threadIdx.x); k < piece.size; k += static_cast<int>(blockDim.x))
    keys[spread<uint64_t>(k)] = piece.key(k);
  __syncthreads();
  sort_block(keys, piece.size);
  const int64_t columns = piece.grad_rows.columns, lane = threadIdx.x % 32,
                warps = int64_t{gridDim.x} * blockDim.x / 32;
  const int64_t items = piece.count * ((columns + 32 * kWidth - 1) / (32 * kWidth));
  for (int64_t item = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32; item < items; item += warps) {
    int place = static_cast<int>(item % piece.count);
    const uint64_t key = keys[spread<uint64_t>(place)];
    const int64_t index = piece.index_of(key), column = (item / piece.count * 32 + lane) * kWidth;
    const bool begins = key != kNoKey && (place == 0 || piece.index_of(keys[spread<uint64_t>(place - 1)]) != index);
    if (!begins || column >= columns) continue;
    float* const to = piece.grad_source.row(index) + column;
    Pack<kWidth> sum = load<kWidth>(to);
    for (bool more = true; more; place += kLoads) {
      Pack<kWidth> terms[kLoads] = {};
      bool same[kLoads];
      DUET_UNROLL
      for (int k = 0; k < kLoads; ++k) {
        const uint64_t from = place + k < piece.count ? keys[spread<uint64_t>(place + k)] : kNoKey;
        same[k] = piece.index_of(from) == index;
        if (same[k]) terms[k] = load<kWidth>(piece.row_of(from) + column);
      }
      DUET_UNROLL
      for (int k = 0; k < kLoads; ++k) {
        DUET_UNROLL
        for (int e = 0; e < kWidth; ++e) sum.at[e] = same[k] ? sum.at[e] + terms[k].at[e] : sum.at[e];
      }
      more = same[kLoads - 1];
    }
    store(to, sum);
  }
}

}  // namespace

void gather_forward(const duet_context& context, Matrix<const float> source, Vector<const int64_t> indices,
                    Matrix<float> rows) {
  for_each_element(context, rows.rows, rows.columns, false, aligned(source) && aligned(rows),
                   CopyRows{source, indices, rows});
}

void gather_backward(const duet_context& context, Vector<const int64_t> indices, Matrix<const float> grad_rows,
                     Matrix<float> grad_source) {
  if (grad_rows.columns == 0) return;
  const bool wide = aligned(grad_rows) && aligned(grad_source) && grad_rows.columns % 4 == 0;
  for (int64_t first = 0; first < indices.size; first += kLargestSort) {
    const int count = static_cast<int>(std::min<int64_t>(kLargestSort, indices.size - first)), size = sort_size(count),
              threads = sort_threads(count);
    const AddRows piece{indices, grad_rows, grad_source, first, count, size};
    // One block of 1024 threads a multiprocessor, because two would share the shared memory that limits the sort.
    const int64_t items = count * ceil_div(grad_rows.columns, wide ? 128 : 32);
    const int64_t grid = std::min(ceil_div(items, threads / 32), int64_t{context.multiprocessors} * (1024 / threads));
    const size_t bytes = static_cast<size_t>(spread<uint64_t>(size)) * sizeof(uint64_t);
    if (wide)
      DUET_LAUNCH(add_rows_kernel<4>, grid, threads, bytes, context.stream)(piece);
    else
      DUET_LAUNCH(add_rows_kernel<1>, grid, threads, bytes, context.stream)(piece);
  }
}

void gather_labels(const duet_context& context, Vector<const int32_t> source, Vector<const int64_t> indices,
                   Vector<int32_t> labels) {
  for_each_element(context, 1, labels.size, true, false, CopyLabels{source, indices, labels});
}

void gather_batch(const duet_context& context, const GatherBatch& batch) {
  const int64_t rows = batch.indices.size;
  if (rows == 0) return;
  CopyBatch copies{};
  copies.labels = {batch.labels, batch.indices, batch.picked};
  copies.count = static_cast<int>(batch.source_count);
  int64_t grid = ceil_div(batch.picked.size, kBatchThreads) + (context.faults ? 1 : 0);
  for (int k = 0; k < copies.count; ++k) {
    copies.copies[k] = {batch.sources[k], batch.indices, batch.rows[k]};
    copies.wide[k] = aligned(batch.sources[k]) && aligned(batch.rows[k]);
    const int64_t across = ceil_div(batch.rows[k].columns, copies.wide[k] ? 128 : 32),
                  blocks = across * ceil_div(rows, kBatchRows);
    copies.across[k] = static_cast<unsigned>(across), copies.blocks[k] = static_cast<unsigned>(blocks);
    grid += blocks;  // the launch refuses a grid that needs more than 2^31 blocks
  }
  DUET_LAUNCH(gather_batch_kernel, grid, kBatchThreads, 0, context.stream)
  (copies, context.faults, index_range("inputs.indices", batch.sources[0].rows));
}

}  // namespace duet::cuda
