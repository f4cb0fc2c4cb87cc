// The measures of METHOD.md 7 for each query, from the ranks of its relevant items.
//
// Queries are taken in blocks of at most 2^24 scores, which the tile kernels leave in the workspace, and so in the second-level cache. One block of
// threads (256, fewer for a small gallery) owns a query. It collects the keys (score, index) of relevant items until 4096 of them, a run, fill shared
// memory, sorts the run, and then passes over all items once: a binary search in the run finds between which two of its keys an item lies, and a
// counter there counts the items, another the relevant ones. Running sums of both make each key's rank among all and among the relevant items (its
// hits), which is all that the measures need, and their sums and extremes do not ask for any order; so a query with more relevant items takes further
// runs. Nothing is sorted but relevant keys, all ranks are exact for the scores given, sums are float64. Expected on an H200 at n = m = 16384, d =
// 512, 10 classes: scores 3.5 ms in tf32x3; 2.7e8 items each 11 steps of search, some 3e9 reads of shared memory with conflicts, 1.5 ms, counters 0.5
// ms, sorts 0.5 ms.
#include "kernels/cuda/block_scan.h"
#include "kernels/retrieval/retrieval_scores_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRunKeys = 4096;           // with its counters 68 KB: three blocks on an SM
constexpr double kSmallestNorm = 1e-12;  // METHOD.md 1

// One block a row; the norm in float64, so that 1e30 does not overflow.
__global__ void __launch_bounds__(128) normalise_rows(Matrix<const float> rows, Matrix<float> unit) {
  const float* from = rows.row(blockIdx.x);
  double square = 0;
  for (int64_t k = threadIdx.x; k < rows.columns; k += blockDim.x) square += static_cast<double>(from[k]) * from[k];
  double norm = sqrt(block_sum(square));
  if (norm < kSmallestNorm) norm = kSmallestNorm;  // NaN stays
  for (int64_t k = threadIdx.x; k < rows.columns; k += blockDim.x) unit.row(blockIdx.x)[k] = static_cast<float>(from[k] / norm);
}

// 1/1 + ... + 1/k. Past the first few by Euler and Maclaurin: what is left out is below 1e-16.
__device__ double harmonic(int64_t k) {
  constexpr int64_t kFew = 16;
  if (k < kFew) {
    double sum = 0;
    for (int64_t q = k; q > 0; --q) sum += 1.0 / static_cast<double>(q);
    return sum;
  }
  constexpr double kEuler = 0.57721566490153286061;
  const double x = static_cast<double>(k), y = 1 / (x * x);
  return log(x) + kEuler + 0.5 / x - y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240))));
}

struct Query {
  const float* scores;  // m
  const int32_t* labels;
  int64_t m;
  int32_t label;

  __device__ bool relevant(int64_t j) const { return label >= 0 && labels[j] == label; }
};

// What the threads count together, in shared memory: integers, whose order does not matter.
struct Counts {
  int32_t cursor;  // keys of the run
  int32_t relevant, first_rank;
  int32_t ahead, others, below, tied;
  int32_t best_precision[kRecallPoints];  // bits: of numbers that are not negative they rise as the number does
};

// What the ranks of a query's relevant items come to, a thread's part.
struct Measures {
  double precisions = 0, precisions_at_r = 0, all_cutoffs = 0;
  int32_t first_rank = INT32_MAX;
  float best_precision[kRecallPoints] = {};  // among hits of at least that recall

  __device__ void take(int64_t rank, int64_t hits, int64_t relevant, double harmonic_m) {
    const double precision = static_cast<double>(hits) / static_cast<double>(rank + 1);
    precisions += precision;
    if (rank < relevant) precisions_at_r += precision;
    all_cutoffs += harmonic_m - harmonic(rank);  // a hit at rank k counts in every P@k from there on
    first_rank = Min{}(first_rank, static_cast<int32_t>(rank));
    const auto value = static_cast<float>(precision);  // P@k peaks at hits
    DUET_UNROLL for (int64_t point = 0; point < kRecallPoints;
                     ++point) if (hits * (kRecallPoints - 1) >= relevant * point && value > best_precision[point]) best_precision[point] = value;
  }
};

struct Run {
  uint64_t* keys;       // spread(kRunKeys), sorted
  int32_t *items, *of;  // spread(kRunKeys) each: items, relevant items between a key and the one before, the key itself among them
};

// Fills the run with the relevant items from column next on; returns where the next run starts, count gets its keys. For whole blocks.
__device__ int64_t collect(const Query& query, int64_t next, const Run& run, int32_t* cursor, int32_t& count) {
  if (threadIdx.x == 0) *cursor = 0;
  __syncthreads();
  count = 0;
  for (; next < query.m; next += blockDim.x) {
    const int64_t j = next + threadIdx.x;
    const bool relevant = j < query.m && query.relevant(j);
    const int32_t more = __syncthreads_count(relevant);
    if (count + more > kRunKeys) break;
    if (relevant) run.keys[spread<uint64_t>(atomicAdd(cursor, 1))] = rank_key(query.scores[j], j);  // in any order: they are sorted
    count += more;
  }
  __syncthreads();
  return next;
}

// Counts all items, and the relevant ones, between the run's keys. For whole blocks.
__device__ void count_items(const Query& query, const Run& run, int32_t count) {
  const int size = sort_size(count);
  for (int k = count + static_cast<int>(threadIdx.x); k < size; k += static_cast<int>(blockDim.x)) run.keys[spread<uint64_t>(k)] = kNoKey;
  for (int k = static_cast<int>(threadIdx.x); k < count; k += static_cast<int>(blockDim.x)) run.items[k] = run.of[k] = 0;
  __syncthreads();
  sort_block(run.keys, size);
  for (int64_t j = threadIdx.x; j < query.m; j += blockDim.x) {
    const uint64_t key = rank_key(query.scores[j], j);
    int low = 0, high = count;  // the first key of the run that is no less
    while (low < high) {
      const int middle = (low + high) / 2;
      if (run.keys[spread<uint64_t>(middle)] < key)
        low = middle + 1;
      else
        high = middle;
    }
    if (low == count) continue;
    atomicAdd(run.items + low, 1);
    if (query.relevant(j)) atomicAdd(run.of + low, 1);
  }
  __syncthreads();
}

__device__ void take_run(const Run& run, int32_t count, int64_t relevant, double harmonic_m, Measures& measures) {
  int32_t items_before = 0, hits_before = 0;
  for (int32_t first = 0; first < count; first += static_cast<int32_t>(blockDim.x)) {
    const int32_t k = first + static_cast<int32_t>(threadIdx.x);
    const int32_t items = k < count ? run.items[k] : 0, hits = k < count ? run.of[k] : 0;
    int32_t all_items, all_hits;
    const int32_t rank = items_before + block_sum_before(items, all_items) + items - 1;
    const int32_t hit = hits_before + block_sum_before(hits, all_hits) + hits;
    if (k < count) measures.take(rank, hit, relevant, harmonic_m);
    items_before += all_items;
    hits_before += all_hits;
  }
}

// For whole blocks.
__device__ void write_measures(const RetrievalOutputs& to, int64_t i, int64_t m, const Measures& measures, Counts& counts) {
  atomicMin(&counts.first_rank, measures.first_rank);
  DUET_UNROLL for (int64_t point = 0; point < kRecallPoints; ++point)
      atomicMax(&counts.best_precision[point], static_cast<int32_t>(__float_as_uint(measures.best_precision[point])));
  const double precisions = to.average_precision ? block_sum(measures.precisions) : 0;
  const double at_r = to.precision_at_r ? block_sum(measures.precisions_at_r) : 0;
  const double cutoffs = to.precision_all_cutoffs ? block_sum(measures.all_cutoffs) : 0;
  __syncthreads();
  const bool some = counts.relevant > 0;
  const auto relevant = static_cast<double>(counts.relevant);
  if (to.precision_recall && threadIdx.x < kRecallPoints)
    to.precision_recall.row(i)[threadIdx.x] = some ? __uint_as_float(static_cast<uint32_t>(counts.best_precision[threadIdx.x])) : NAN;
  if (threadIdx.x != 0) return;
  if (to.average_precision) to.average_precision[i] = some ? static_cast<float>(precisions / relevant) : NAN;
  if (to.precision_at_r) to.precision_at_r[i] = some ? static_cast<float>(at_r / relevant) : NAN;
  if (to.precision_all_cutoffs) to.precision_all_cutoffs[i] = some ? static_cast<float>(cutoffs / static_cast<double>(m)) : NAN;
  if (to.first_relevant_rank) to.first_relevant_rank[i] = some ? counts.first_rank : -1;
}

// How the own pair ranks among all, and among the items of other classes. For whole blocks.
__device__ void write_own(const RetrievalOutputs& to, int64_t i, const Query& query, int64_t own, Counts& counts) {
  const uint64_t own_key = own >= 0 ? rank_key(query.scores[own], own) : 0;
  int32_t ahead = 0, others = 0, below = 0, tied = 0;
  for (int64_t j = threadIdx.x; own >= 0 && j < query.m; j += blockDim.x) {
    const uint64_t key = rank_key(query.scores[j], j);
    ahead += key < own_key;
    if (query.label < 0 || query.labels[j] < 0 || query.labels[j] == query.label) continue;
    others += 1;
    below += key_bits(key) > key_bits(own_key);
    tied += key_bits(key) == key_bits(own_key);
  }
  atomicAdd(&counts.ahead, ahead);
  atomicAdd(&counts.others, others);
  atomicAdd(&counts.below, below);
  atomicAdd(&counts.tied, tied);
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (to.own_rank) to.own_rank[i] = own < 0 ? -1 : counts.ahead;
  if (to.matching) to.matching[i] = counts.others > 0 ? static_cast<float>((counts.below + 0.5 * counts.tied) / counts.others) : NAN;
}

constexpr size_t run_bytes(int64_t m) {
  const int64_t keys = sort_size(m < kRunKeys ? m : kRunKeys);
  return static_cast<size_t>(spread<uint64_t>(keys)) * sizeof(uint64_t) + static_cast<size_t>(keys) * 2 * sizeof(int32_t);
}

__global__ void __launch_bounds__(kThreads)
    rank_queries(RetrievalInputs inputs, RetrievalOutputs to, Matrix<const float> scores, int64_t first, bool ranks) {
  DUET_SHARED_DYNAMIC(uint64_t, shared);
  DUET_SHARED(Counts, counts, );
  const int64_t i = first + blockIdx.x, m = scores.columns;
  const Query query{scores.row(blockIdx.x), inputs.gallery_labels.data, m, inputs.query_labels[i]};
  const int keys = sort_size(m < kRunKeys ? m : kRunKeys);
  auto* const counters = reinterpret_cast<int32_t*>(shared + spread<uint64_t>(keys));
  const Run run{shared, counters, counters + keys};

  if (threadIdx.x == 0) counts = Counts{0, 0, INT32_MAX, 0, 0, 0, 0, {}};
  int32_t same = 0;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) same += query.relevant(j);
  __syncthreads();
  atomicAdd(&counts.relevant, same);
  __syncthreads();
  const int32_t relevant = counts.relevant;
  if (threadIdx.x == 0 && to.relevant) to.relevant[i] = relevant;
  Measures measures;
  const double harmonic_m = harmonic(m);
  for (int64_t next = 0; ranks && relevant > 0 && next < m;) {
    int32_t count;
    next = collect(query, next, run, &counts.cursor, count);
    if (count == 0) break;
    count_items(query, run, count);
    take_run(run, count, relevant, harmonic_m, measures);
  }
  if (ranks) write_measures(to, i, m, measures, counts);
  if (to.matching || to.own_rank) write_own(to, i, query, inputs.own(i), counts);
}

}  // namespace

void Scores::normalise(const duet_context& context, Matrix<const float> rows, Matrix<float> unit) {
  DUET_LAUNCH(normalise_rows, rows.rows, 128, 0, context.stream)(rows, unit);
}

void retrieval_forward(const duet_context& context, const RetrievalInputs& inputs, const RetrievalOutputs& outputs, Workspace workspace) {
  const Scores scores(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns);
  const bool ranks =
      outputs.average_precision || outputs.precision_at_r || outputs.precision_all_cutoffs || outputs.first_relevant_rank || outputs.precision_recall;
  const int threads = std::min(kThreads, sort_threads(inputs.gallery.rows));
  scores.for_each_block(context, inputs, [&](int64_t first, Matrix<const float> block) {
    DUET_LAUNCH(rank_queries, block.rows, threads, run_bytes(block.columns), context.stream)(inputs, outputs, block, first, ranks);
  });
}

}  // namespace duet::cuda
