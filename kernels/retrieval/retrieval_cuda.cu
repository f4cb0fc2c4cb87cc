// A block of up to 256 threads owns a query, and up to 4096 of its relevant scores in shared memory.
// Bytes: the scores of a block of queries, at most 2^24, lie in the second-level cache; every item is read once a run.
// Operations: a sort of the relevant scores, a binary search an item; the scores are inner products of distance.
#include "kernels/cuda/block_scan.h"
#include "kernels/retrieval/retrieval_scores_cuda.h"

namespace duet::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRunKeys = 4096;  // with its counters 68 KB: three blocks on an SM

// One block a row; the norm in float64, so that 1e30 does not overflow.
__global__ void __launch_bounds__(128) normalise_rows(Matrix<const float> rows, Matrix<float> unit) {
  const float* from = rows.row(blockIdx.x);
  double square = 0;
  for (int64_t k = threadIdx.x; k < rows.columns; k += blockDim.x) square += static_cast<double>(from[k]) * from[k];
  double norm = sqrt(block_sum(square));
  if (norm < kSmallestNorm) norm = kSmallestNorm;  // NaN stays
  for (int64_t k = threadIdx.x; k < rows.columns; k += blockDim.x)
    unit.row(blockIdx.x)[k] = static_cast<float>(from[k] / norm);
}

// The table of label sets, where there is one: without it a label is compared alone, and the kernel needs no registers
// for it.
template <bool kSets>
struct Alike {
  __device__ explicit Alike(const LabelSets&) {}
  __device__ bool operator()(int32_t a, int32_t b) const { return a >= 0 && a == b; }
};
template <>
struct Alike<true> {
  LabelSets sets;

  __device__ explicit Alike(const LabelSets& sets) : sets(sets) {}
  __device__ bool operator()(int32_t a, int32_t b) const { return sets.alike(a, b); }
};

template <bool kSets>
struct Query {
  const float* scores;  // m
  const int32_t* labels;
  int64_t m;
  int32_t label;
  Alike<kSets> alike;

  __device__ uint32_t bits(int64_t j) const { return score_bits(scores[j]); }  // kNoScore: the row is no item
  __device__ bool same_label(int64_t j) const { return alike(label, labels[j]); }
  __device__ bool relevant(int64_t j, uint32_t score) const { return score != kNoScore && same_label(j); }
};

// Counts in shared memory, which all threads add to. They are integers, so the order does not matter.
struct Counts {
  int32_t cursor;  // scores of the run
  int32_t relevant, items;
  int32_t own, above, equal, others, below, tied;
  int32_t best_precision[kRecallPoints];  // bits of floats; those of numbers that are not negative rise with the number
  uint32_t digit;
  int32_t rank;
  TieGroup first;  // of relevant items, the best
};

// The sums over a thread's groups.
struct Measures {
  double precisions = 0, precisions_at_r = 0, over_cutoffs = 0;
};

// A range of scores, from `from` to `to` in score_bits, and the number of relevant items in it. Where that number
// exceeds kRunKeys, all of them have the score `to`, which is the run's only key. Items of the range that score better
// are not relevant; they stand between the previous run and this one.
struct Range {
  uint32_t from, to;
  int32_t relevant;
};

struct Run {
  uint64_t* keys;  // spread(kRunKeys), sorted: row_key(bits, 0)
  // kRunKeys counts each, at the first key of a score. between: other items that stand after the previous key and
  // before this one. tied: other items of this score.
  int32_t *between, *tied;

  __device__ uint32_t bits(int k) const { return key_bits(keys[spread<uint64_t>(k)]); }
};

// Totals over the items before the run.
struct Walk {
  int64_t items = 0, hits = 0;
  double sum = 0;  // of P@k rel_k
};

// Selects the best kRunKeys relevant items from `from` on, or fewer: items of the last score are left out where not all
// of them fit. The score of the next item is found digit by digit: which of 256 values the digit has, among the items
// that share all digits so far. All threads of a block of 256 call.
template <bool kSets>
__device__ Range cut_run(const Query<kSets>& query, uint32_t from, const Run& run, Counts& counts) {
  static_assert(kThreads == 256);
  int32_t* const histogram = run.between;
  const int bin = static_cast<int>(threadIdx.x);
  int32_t rank = kRunKeys, equal = 0;
  uint32_t found = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    histogram[bin] = 0;
    __syncthreads();
    for (int64_t j = threadIdx.x; j < query.m; j += blockDim.x) {
      const uint32_t bits = query.bits(j);
      if (bits < from || !query.relevant(j, bits) || (shift < 24 && (bits ^ found) >> (shift + 8) != 0)) continue;
      atomicAdd(histogram + (bits >> shift & 255), 1);
    }
    __syncthreads();
    const int32_t here = histogram[bin];
    int32_t all;
    const int32_t before = block_sum_before(here, all);
    if (before <= rank && rank < before + here) counts.digit = static_cast<uint32_t>(bin), counts.rank = rank - before;
    __syncthreads();
    found |= counts.digit << shift;
    rank = counts.rank;
    equal = histogram[counts.digit];
    __syncthreads();
  }
  return rank < kRunKeys ? Range{from, found - 1, kRunKeys - rank} : Range{from, found, equal};
}

// Fills the run, sorts it and counts all other items between its scores; returns its number of keys. All threads of the
// block call.
template <bool kSets>
__device__ int32_t fill_run(const Query<kSets>& query, const Range& range, const Run& run, Counts& counts) {
  const int32_t count = range.relevant > kRunKeys ? 1 : range.relevant;
  const int size = sort_size(count);
  if (threadIdx.x == 0) {
    counts.cursor = 0;
    if (range.relevant > kRunKeys) run.keys[0] = row_key(range.to, 0);
  }
  __syncthreads();
  for (int64_t j = threadIdx.x; range.relevant <= kRunKeys && j < query.m; j += blockDim.x) {
    const uint32_t bits = query.bits(j);
    if (bits >= range.from && bits <= range.to && query.relevant(j, bits))
      run.keys[spread<uint64_t>(atomicAdd(&counts.cursor, 1))] = row_key(bits, 0);  // in any order: they are sorted
  }
  for (int k = count + static_cast<int>(threadIdx.x); k < size; k += static_cast<int>(blockDim.x))
    run.keys[spread<uint64_t>(k)] = kNoKey;
  for (int k = static_cast<int>(threadIdx.x); k < count; k += static_cast<int>(blockDim.x))
    run.between[k] = run.tied[k] = 0;
  __syncthreads();
  sort_block(run.keys, size);
  for (int64_t j = threadIdx.x; j < query.m; j += blockDim.x) {
    const uint32_t bits = query.bits(j);
    if (bits < range.from || query.same_label(j)) continue;
    int low = 0, high = count;  // the first key of the run that is not less
    while (low < high) {
      const int middle = (low + high) / 2;
      if (run.bits(middle) < bits)
        low = middle + 1;
      else
        high = middle;
    }
    if (low < count) atomicAdd((run.bits(low) == bits ? run.tied : run.between) + low, 1);
  }
  __syncthreads();
  return count;
}

// The largest P@k at each recall, over the groups of the threads that lead one. All threads of the block call.
__device__ void take_curve(const TieGroup& group, bool leads, int64_t relevant, Counts& counts) {
  const float peak = leads ? static_cast<float>(group.peak()) : 0;
  DUET_NO_UNROLL for (int point = 0; point < kRecallPoints; ++point) {
    float value = 0;
    if (leads && group.reaches(relevant, point))
      value = group.size == 1 ? peak : static_cast<float>(group.peak(relevant, point));
    value = warp_max(value);
    if (lane_of_warp() == 0) atomicMax(&counts.best_precision[point], static_cast<int32_t>(__float_as_uint(value)));
  }
}

// All threads of the block call.
__device__ void take_run(const Run& run, const Range& range, int32_t count, int64_t relevant,
                         const RetrievalOutputs& to, Walk& walk, Measures& measures, Counts& counts) {
  const bool one_score = range.relevant > kRunKeys;
  for (int32_t first = 0; first < count; first += static_cast<int32_t>(blockDim.x)) {
    const int32_t k = first + static_cast<int32_t>(threadIdx.x);
    const bool leads = k < count && (k == 0 || run.bits(k - 1) != run.bits(k));
    const int32_t between = k < count ? run.between[k] : 0, tied = k < count ? run.tied[k] : 0;
    const int32_t here = k >= count ? 0 : one_score ? range.relevant : 1;  // relevant items
    int32_t members = here;
    if (!one_score)
      for (; leads && k + members < count && run.bits(k + members) == run.bits(k); ++members) continue;
    int32_t all_items;
    const int64_t items_before = walk.items + block_sum_before(between + tied + here, all_items),
                  hits_before = walk.hits + k - first;
    const TieGroup group{items_before + between, hits_before, members + tied, members};
    double sum = 0, all_sum = 0;
    for (int64_t i = 1; leads && i <= group.size; ++i) {
      const double gain = group.gain(i);
      sum += gain;
      if (group.before + i <= relevant) measures.precisions_at_r += gain;
    }
    measures.precisions += sum;
    if (to.precision_recall) take_curve(group, leads, relevant, counts);
    if (leads && hits_before == 0) counts.first = group;
    if (to.precision_over_cutoffs) {
      double so_far = walk.sum + block_sum_before(sum, all_sum);
      if (leads && hits_before > 0) measures.over_cutoffs += so_far / static_cast<double>(hits_before) * between;
      for (int64_t i = 1; leads && i <= group.size; ++i) {
        so_far += group.gain(i);
        measures.over_cutoffs += so_far / group.hits(i);
      }
    }
    walk.items += all_items;
    walk.hits += one_score                                          ? range.relevant
                 : count - first < static_cast<int32_t>(blockDim.x) ? count - first
                                                                    : static_cast<int32_t>(blockDim.x);
    walk.sum += all_sum;
  }
}

// All threads of the block call.
__device__ void write_measures(const RetrievalOutputs& to, int64_t i, const Vector<const int64_t>& cutoffs,
                               const Walk& walk, const Measures& measures, Counts& counts) {
  const double precisions = to.average_precision ? block_sum(measures.precisions) : 0;
  const double at_r = to.precision_at_r ? block_sum(measures.precisions_at_r) : 0;
  const double over = to.precision_over_cutoffs ? block_sum(measures.over_cutoffs) : 0;
  __syncthreads();
  const bool some = counts.relevant > 0;
  const auto relevant = static_cast<double>(counts.relevant), items = static_cast<double>(counts.items);
  if (to.precision_recall && threadIdx.x < kRecallPoints)
    to.precision_recall.row(i)[threadIdx.x] =
        some ? __uint_as_float(static_cast<uint32_t>(counts.best_precision[threadIdx.x])) : NAN;
  for (int64_t k = threadIdx.x; to.recall && k < cutoffs.size; k += blockDim.x)
    to.recall.row(i)[k] = some ? static_cast<float>(counts.first.found(cutoffs[k])) : NAN;
  if (threadIdx.x != 0) return;
  if (to.average_precision) to.average_precision[i] = some ? static_cast<float>(precisions / relevant) : NAN;
  if (to.precision_at_r) to.precision_at_r[i] = some ? static_cast<float>(at_r / relevant) : NAN;
  if (to.precision_over_cutoffs) {
    const double behind = items - static_cast<double>(walk.items);  // items after the last relevant one
    to.precision_over_cutoffs[i] = some ? static_cast<float>((over + walk.sum / relevant * behind) / items) : NAN;
  }
}

// How the own pair, its best row, ranks among all and among the items of other classes. All threads of the block call.
template <bool kSets>
__device__ void write_own(const RetrievalInputs& inputs, const RetrievalOutputs& to, int64_t i,
                          const Query<kSets>& query, Counts& counts) {
  const int32_t group = inputs.group(i);
  const bool grouped = group >= 0;
  const int64_t row = grouped ? -1 : inputs.own(i);
  uint32_t best = row >= 0 ? query.bits(row) : kNoScore;
  if (grouped) {
    for (int64_t j = threadIdx.x; j < query.m; j += blockDim.x)
      if (inputs.gallery_groups[j] == group) best = Min{}(best, query.bits(j));
    best = block_min(best);
  }
  int32_t own = 0, above = 0, equal = 0, others = 0, below = 0, tied = 0;
  for (int64_t j = threadIdx.x; best != kNoScore && j < query.m; j += blockDim.x) {
    const uint32_t bits = query.bits(j);
    if (bits == kNoScore) continue;
    above += bits < best;
    equal += bits == best;
    own += bits == best && (grouped ? inputs.gallery_groups[j] == group : j == row);
    if (query.label < 0 || query.labels[j] < 0 || query.same_label(j)) continue;
    others += 1;
    below += bits > best;
    tied += bits == best;
  }
  atomicAdd(&counts.own, own);
  atomicAdd(&counts.above, above);
  atomicAdd(&counts.equal, equal);
  atomicAdd(&counts.others, others);
  atomicAdd(&counts.below, below);
  atomicAdd(&counts.tied, tied);
  __syncthreads();
  const TieGroup pair{counts.above, 0, counts.equal, counts.own};
  for (int64_t k = threadIdx.x; to.pair_recall && k < inputs.cutoffs.size; k += blockDim.x)
    to.pair_recall.row(i)[k] = counts.own > 0 ? static_cast<float>(pair.found(inputs.cutoffs[k])) : NAN;
  if (threadIdx.x == 0 && to.matching)
    to.matching[i] = counts.others > 0 ? static_cast<float>((counts.below + 0.5 * counts.tied) / counts.others) : NAN;
}

constexpr size_t run_bytes(int64_t m) {
  const int64_t keys = sort_size(m < kRunKeys ? m : kRunKeys);
  return static_cast<size_t>(spread<uint64_t>(keys)) * sizeof(uint64_t) +
         static_cast<size_t>(keys) * 2 * sizeof(int32_t);
}

template <bool kSets>
__global__ void __launch_bounds__(kThreads, 2)
    rank_queries(RetrievalInputs inputs, RetrievalOutputs to, Matrix<float> scores, int64_t first, bool ranks) {
  DUET_SHARED_DYNAMIC(uint64_t, shared);
  DUET_SHARED(Counts, counts, );
  const int64_t i = first + blockIdx.x, m = scores.columns;
  const Query<kSets> query{scores.row(blockIdx.x), inputs.gallery_labels.data, m, inputs.query_labels[i],
                           Alike<kSets>(inputs.label_sets)};
  const int keys = sort_size(m < kRunKeys ? m : kRunKeys);
  auto* const counters = reinterpret_cast<int32_t*>(shared + spread<uint64_t>(keys));
  const Run run{shared, counters, counters + keys};

  const int64_t left_out = inputs.left_out(i);
  if (threadIdx.x == 0) {
    counts = Counts{};
    if (left_out >= 0) scores.row(blockIdx.x)[left_out] = NAN;  // no item
  }
  __syncthreads();
  int32_t same = 0, items = 0;
  for (int64_t j = threadIdx.x; j < m; j += blockDim.x) {
    const uint32_t bits = query.bits(j);
    same += query.relevant(j, bits);
    items += bits != kNoScore;
  }
  atomicAdd(&counts.relevant, same);
  atomicAdd(&counts.items, items);
  __syncthreads();
  const int32_t relevant = counts.relevant;
  if (threadIdx.x == 0 && to.relevant) to.relevant[i] = relevant;
  Measures measures;
  Walk walk;
  for (uint32_t from = 0; ranks && walk.hits < relevant;) {
    const auto left = static_cast<int32_t>(relevant - walk.hits);
    const Range range = left <= kRunKeys ? Range{from, kNoScore - 1, left} : cut_run(query, from, run, counts);
    const int32_t count = fill_run(query, range, run, counts);
    take_run(run, range, count, relevant, to, walk, measures, counts);
    // The next run counts the items between this run's last score and its own first one.
    from = run.bits(count - 1) + 1;
    __syncthreads();
  }
  if (ranks) write_measures(to, i, inputs.cutoffs, walk, measures, counts);
  if (to.matching || to.pair_recall) write_own(inputs, to, i, query, counts);
}

}  // namespace

void Scores::normalise(const duet_context& context, Matrix<const float> rows, Matrix<float> unit) {
  DUET_LAUNCH(normalise_rows, rows.rows, 128, 0, context.stream)(rows, unit);
}

void retrieval_forward(const duet_context& context, const RetrievalInputs& inputs, const RetrievalOutputs& outputs,
                       Workspace workspace) {
  const Scores scores(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns);
  const bool ranks = outputs.average_precision || outputs.precision_at_r || outputs.precision_over_cutoffs ||
                     outputs.recall || outputs.precision_recall;
  const int threads = std::min(kThreads, sort_threads(inputs.gallery.rows));
  scores.for_each_block(context, inputs, [&](int64_t first, Matrix<float> block) {
    const auto launch = [&](auto sets) {
      DUET_LAUNCH(rank_queries<decltype(sets)::value>, block.rows, threads, run_bytes(block.columns), context.stream)
      (inputs, outputs, block, first, ranks);
    };
    if (inputs.label_sets)
      launch(std::true_type());
    else
      launch(std::false_type());
  });
}

}  // namespace duet::cuda
