// A block of 512 threads owns a query, and up to 8192 keys (score, index) in shared memory.
// Bytes: as in retrieval_cuda.cu, every score is read once.
// Operations: a few sorts of 8192 keys a query; the scores are inner products of distance.
#include "kernels/retrieval/retrieval_scores_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int64_t kMostKept = kLargestSort / 2;  // so that at least as many places are free for new keys

struct Best {
  Matrix<int32_t> indices;
  Matrix<float> scores;  // without data: not wanted

  __device__ void write(int64_t i, int64_t k, uint64_t key, const float* row) const {
    const int32_t index = key == kNoKey ? -1 : key_column(key);
    indices.row(i)[k] = index;
    if (scores) scores.row(i)[k] = index < 0 ? NAN : cosine_score(row[index]);
  }
};

// Sorts the `held` keys of the buffer and keeps the best `kept`; the keys behind them are stale. All threads of the
// block call.
__device__ void sort_held(uint64_t* keys, int held) {
  const int size = sort_size(held);
  for (int k = held + static_cast<int>(threadIdx.x); k < size; k += static_cast<int>(blockDim.x))
    keys[spread<uint64_t>(k)] = kNoKey;
  __syncthreads();
  sort_block(keys, size);
}

// capacity: keys that shared memory holds, at least kept + blockDim.x or m.
__global__ void __launch_bounds__(kThreads)
    keep_best(RetrievalInputs inputs, Matrix<const float> scores, Best to, int64_t first, int kept, int capacity) {
  DUET_SHARED_DYNAMIC(uint64_t, keys);
  DUET_SHARED(int32_t, cursor, [1]);
  const int64_t m = scores.columns, left_out = inputs.left_out(first + blockIdx.x);
  const float* row = scores.row(blockIdx.x);
  int held = 0;
  uint64_t limit = kNoKey;  // keys from here on are behind the kept best
  if (threadIdx.x == 0) *cursor = 0;
  __syncthreads();
  for (int64_t next = 0; next < m; next += blockDim.x) {
    const int64_t j = next + threadIdx.x;
    const uint64_t key = j < m && j != left_out ? rank_key(row[j], j) : kNoKey;
    int more = __syncthreads_count(key < limit);
    if (held + more > capacity) {
      sort_held(keys, held);
      held = kept;
      limit = keys[spread<uint64_t>(kept - 1)];
      if (threadIdx.x == 0) *cursor = kept;
      more = __syncthreads_count(key < limit);
    }
    if (key < limit) keys[spread<uint64_t>(atomicAdd(cursor, 1))] = key;  // in any order: they are sorted
    held += more;
  }
  __syncthreads();
  sort_held(keys, held);
  for (int64_t k = threadIdx.x; k < to.indices.columns; k += blockDim.x)
    to.write(first + blockIdx.x, k, k < min(kept, held) ? keys[spread<uint64_t>(k)] : kNoKey, row);
}

// first: the query of the first row of scores.
__global__ void __launch_bounds__(kThreads)
    write_rank_keys(RetrievalInputs inputs, Matrix<const float> scores, int64_t first, uint64_t* keys) {
  const int64_t left_out = inputs.left_out(first + blockIdx.x);
  for (int64_t j = threadIdx.x; j < scores.columns; j += blockDim.x)
    keys[blockIdx.x * scores.columns + j] = j == left_out ? kNoKey : rank_key(scores.row(blockIdx.x)[j], j);
}

__global__ void __launch_bounds__(kThreads)
    write_sorted(Matrix<const float> scores, Best to, int64_t first, const uint64_t* sorted) {
  const int64_t m = scores.columns;
  for (int64_t k = threadIdx.x; k < to.indices.columns; k += blockDim.x)
    to.write(first + blockIdx.x, k, k < m ? sorted[blockIdx.x * m + k] : kNoKey, scores.row(blockIdx.x));
}

}  // namespace

size_t retrieval_workspace(const duet_context& context, int64_t queries, int64_t gallery, int64_t columns, bool) {
  Workspace measure;
  Scores(measure, context, queries, gallery, columns);
  LongRows(measure, context, queries, gallery);
  return measure.used();
}

void retrieval_top_k(const duet_context& context, const RetrievalInputs& inputs, Matrix<int32_t> indices,
                     Matrix<float> scores, Workspace workspace) {
  if (indices.columns == 0) return;
  const int64_t n = inputs.queries.rows, m = inputs.gallery.rows;
  const Scores all(workspace, context, n, m, inputs.queries.columns);
  const LongRows longer(workspace, context, n, m);
  const Best to{indices, scores};
  const int64_t kept = std::min(indices.columns, m);
  all.for_each_block(context, inputs, [&](int64_t first, Matrix<const float> block) {
    if (!longer || kept <= kMostKept) {
      const int capacity = sort_size(std::min<int64_t>(m, kLargestSort));
      const int threads = std::min(kThreads, sort_threads(m));
      DUET_LAUNCH(keep_best, block.rows, threads, spread<uint64_t>(capacity) * sizeof(uint64_t), context.stream)
      (inputs, block, to, first, static_cast<int>(kept), capacity);
      return;
    }
    for_each_row_block(block.rows, longer.rows, [&](int64_t row, int64_t rows) {
      const auto some = block.part(row, 0, rows, m);
      DUET_LAUNCH(write_rank_keys, rows, kThreads, 0, context.stream)
      (inputs, some, first + row, longer.keys);
      const uint64_t* sorted = longer.sort(context, rows);
      DUET_LAUNCH(write_sorted, rows, kThreads, 0, context.stream)(some, to, first + row, sorted);
    });
  });
}

}  // namespace duet::cuda
