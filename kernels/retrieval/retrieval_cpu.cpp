// A work item is a block of queries, one thread's: its scores against the whole gallery go to that thread's scratch (block x m, so O(m)),
// then each query reads its row. The gallery is normalised and packed once. The product gives equal rows equal scores wherever they stand
// (kernels/cpu/tile_product.h): without that, ties would not go to the lower index.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/retrieval/retrieval_backends.h"
#include "kernels/retrieval/retrieval_loops.h"
#include "kernels/retrieval/retrieval_ranks.h"

namespace duet::cpu {
namespace {

constexpr double kSmallestNorm = 1e-12;        // METHOD.md 1
constexpr int64_t kScoresOfBlock = 2'000'000;  // 8 MB a thread
constexpr int64_t kPackedRows = 256;           // gallery rows of a tile; a multiple of every panel width
constexpr float kNaN = __builtin_nanf("");

// More rows read a panel from L1 more often; fewer make work for more threads and keep the scratch small before a huge gallery.
int64_t block_rows(int64_t n, int64_t m) {
  const int64_t most = n >= 1024 ? 36 : 24;
  return std::clamp<int64_t>(kScoresOfBlock / std::max<int64_t>(m, 1) / 12 * 12, 12, most);
}

struct ThreadScratch {
  float *queries, *scores;  // block x d, normalised; block x padded gallery
  double* precision;        // at each relevant item
  Ranker ranker;

  ThreadScratch(Workspace& workspace, int64_t rows, int64_t d, int64_t gallery, int64_t padded_gallery)
      : queries(workspace.take<float>(rows * d)),
        scores(workspace.take<float>(rows * padded_gallery)),
        precision(workspace.take<double>(gallery)),
        ranker(workspace, gallery) {}
};

// What the threads share, and where each thread's own part starts.
struct Scratch {
  int64_t m, d, padded, rows;
  float *gallery, *packed;  // m x d, normalised, and its panels
  uint64_t* by_label;       // m, (label, index) while sorting
  int32_t *labels, *order;  // the gallery's labels, sorted, and whose they are; order goes on for kPadding
  int32_t* places;          // of each gallery row in that order
  double* tails;            // m + 1: tails[k] = 1/(k + 1) + ... + 1/m
  Workspace threads;
  size_t thread_bytes;

  Scratch(Workspace& workspace, const duet_context& context, int64_t n, int64_t m, int64_t d)
      : m(m),
        d(d),
        padded(ceil_div(m + kPadding, kPadding) * kPadding),
        rows(block_rows(n, m)),
        gallery(workspace.take<float>(m * d)),
        packed(workspace.take<float>(packed_size(m, d))),
        by_label(workspace.take<uint64_t>(m)),
        labels(workspace.take<int32_t>(m)),
        order(workspace.take<int32_t>(m + kPadding)),
        places(workspace.take<int32_t>(m)),
        tails(workspace.take<double>(m + 1)),
        threads(workspace) {
    Workspace one;
    ThreadScratch(one, rows, d, m, padded);
    thread_bytes = one.used();
    const int64_t count = std::min<int64_t>(context.threads, ceil_div(n, rows));
    workspace.take<char>(static_cast<int64_t>(thread_bytes) * count);
  }

  ThreadScratch thread(int number) const {
    Workspace own = threads;
    own.take<char>(static_cast<int64_t>(thread_bytes) * number);
    return {own, rows, d, m, padded};
  }
};

// out = x / max(|x|, eps); the norm in double, so that 1e30 does not overflow.
void normalise(const float* x, int64_t d, float* out) {
  double square = 0;
  for (int64_t k = 0; k < d; ++k) square += double{x[k]} * x[k];
  const double norm = std::max(std::sqrt(square), kSmallestNorm);  // NaN stays: it is the first operand
  for (int64_t k = 0; k < d; ++k) out[k] = static_cast<float>(x[k] / norm);
}

// body(query, its scores, scratch of the thread) for every query, each on one thread. Scores are of the gallery's rows in the order given.
template <class Order, class Body>
void for_each_query(const duet_context& context, const RetrievalInputs& inputs, const Scratch& scratch, Order&& order, Body&& body) {
  const int64_t n = inputs.queries.rows, m = scratch.m, d = scratch.d, padded = scratch.padded;
  parallel_chunks(context, m, kPackedRows, [&](int64_t first, int64_t count, int) {
    for (int64_t j = first; j < first + count; ++j) normalise(inputs.gallery.row(order(j)), d, scratch.gallery + j * d);
  });
  const PackedRows gallery = pack_rows(context, {scratch.gallery, m, d, d}, scratch.packed);
  parallel_chunks(context, n, scratch.rows, [&](int64_t first, int64_t count, int thread) {
    const ThreadScratch own = scratch.thread(thread);
    for (int64_t r = 0; r < count; ++r) {
      normalise(inputs.queries.row(first + r), d, own.queries + r * d);
      std::fill(own.scores + r * padded + m, own.scores + (r + 1) * padded, kLastScore);
    }
    for (int64_t j = 0; j < m; j += kPackedRows)
      tile_product({own.queries, count, d, d}, gallery, j, {own.scores + j, count, std::min(kPackedRows, m - j), padded});
    for (int64_t r = 0; r < count; ++r) {
      retrieval_clean(own.scores + r * padded, m);
      body(first + r, own.scores + r * padded, own);
    }
  });
}

void sort_by_label(const Vector<const int32_t>& labels, const Scratch& scratch) {
  for (int64_t j = 0; j < labels.size; ++j)
    scratch.by_label[j] = uint64_t{static_cast<uint32_t>(labels[j]) ^ 0x80000000u} << 32 | static_cast<uint32_t>(j);
  std::sort(scratch.by_label, scratch.by_label + labels.size);
  for (int64_t j = 0; j < labels.size; ++j) {
    scratch.order[j] = static_cast<int32_t>(scratch.by_label[j]);
    scratch.labels[j] = labels[scratch.order[j]];
    scratch.places[scratch.order[j]] = static_cast<int32_t>(j);
  }
  std::fill_n(scratch.order + labels.size, kPadding, INT32_MAX);
}

void sum_tails(const Scratch& scratch) {
  scratch.tails[scratch.m] = 0;
  for (int64_t k = scratch.m; k > 0; --k) scratch.tails[k - 1] = scratch.tails[k] + 1.0 / static_cast<double>(k);
}

// METHOD.md 7 on the ranks, ascending and from 0, of query i's relevant items.
void write_measures(const RetrievalOutputs& outputs, int64_t i, const int32_t* ranks, int64_t relevant, const Scratch& scratch, double* precision) {
  const double count = static_cast<double>(relevant);
  for (int64_t r = 0; r < relevant; ++r) precision[r] = static_cast<double>(static_cast<int32_t>(r) + 1) / static_cast<double>(ranks[r] + 1);
  if (outputs.average_precision) {
    double sum = 0;
    for (int64_t r = 0; r < relevant; ++r) sum += precision[r];
    outputs.average_precision[i] = static_cast<float>(sum / count);
  }
  if (outputs.precision_at_r) {
    double sum = 0;
    for (int64_t r = 0; r < relevant && ranks[r] < relevant; ++r) sum += precision[r];
    outputs.precision_at_r[i] = static_cast<float>(sum / count);
  }
  if (outputs.precision_all_cutoffs) {  // a hit at rank k counts in every P@k from there on
    double sum = 0;
    for (int64_t r = 0; r < relevant; ++r) sum += scratch.tails[ranks[r]];
    outputs.precision_all_cutoffs[i] = static_cast<float>(sum / static_cast<double>(scratch.m));
  }
  if (outputs.first_relevant_rank) outputs.first_relevant_rank[i] = ranks[0];
  if (outputs.precision_recall) {  // P@k peaks at hits, so the best from ceil(R l / 10) hits on is a maximum over hits
    double best = 0;
    int64_t end = relevant;
    for (int64_t point = kRecallPoints - 1; point >= 0; --point) {
      const int64_t begin = std::max<int64_t>(ceil_div(relevant * point, kRecallPoints - 1), 1) - 1;
      for (int64_t r = begin; r < end; ++r) best = std::max(best, precision[r]);
      end = begin;
      outputs.precision_recall.row(i)[point] = static_cast<float>(best);
    }
  }
}

void write_no_measures(const RetrievalOutputs& outputs, int64_t i) {
  for (const auto& measure : {outputs.average_precision, outputs.precision_at_r, outputs.precision_all_cutoffs})
    if (measure) measure[i] = kNaN;
  if (outputs.first_relevant_rank) outputs.first_relevant_rank[i] = -1;
  if (outputs.precision_recall) std::fill_n(outputs.precision_recall.row(i), kRecallPoints, kNaN);
}

// first and last: the query's relevant items among the gallery's, which are sorted by label.
void write_matching(const RetrievalInputs& inputs, const RetrievalOutputs& outputs, int64_t i, const float* scores, int64_t first, int64_t last,
                    const Scratch& scratch) {
  const int64_t own = inputs.own(i) < 0 ? -1 : scratch.places[inputs.own(i)];
  if (outputs.own_rank) outputs.own_rank[i] = own < 0 ? -1 : static_cast<int32_t>(retrieval_own_rank(scores, scratch.order, scratch.m, own));
  if (!outputs.matching) return;
  outputs.matching[i] = kNaN;
  if (own < 0 || inputs.query_labels[i] < 0) return;
  const int64_t labelled = std::lower_bound(scratch.labels, scratch.labels + scratch.m, 0) - scratch.labels;
  const int64_t others = first - labelled + scratch.m - last;
  const BelowOwn before = retrieval_below_own(scores + labelled, first - labelled, scores[own]);
  const BelowOwn after = retrieval_below_own(scores + last, scratch.m - last, scores[own]);
  const double below = static_cast<double>(before.below + after.below), tied = static_cast<double>(before.tied + after.tied);
  if (others > 0) outputs.matching[i] = static_cast<float>((below + 0.5 * tied) / static_cast<double>(others));
}

}  // namespace

size_t retrieval_workspace(const duet_context& context, int64_t queries, int64_t gallery, int64_t columns) {
  Workspace measure;
  Scratch(measure, context, queries, gallery, columns);
  return measure.used();
}

void retrieval_forward(const duet_context& context, const RetrievalInputs& inputs, const RetrievalOutputs& outputs, Workspace workspace) {
  if (inputs.queries.rows == 0) return;
  const Scratch scratch(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns);
  sort_by_label(inputs.gallery_labels, scratch);
  sum_tails(scratch);
  const bool rank =
      outputs.average_precision || outputs.precision_at_r || outputs.precision_all_cutoffs || outputs.first_relevant_rank || outputs.precision_recall;
  const auto by_label = [&](int64_t j) { return scratch.order[j]; };
  for_each_query(context, inputs, scratch, by_label, [&](int64_t i, const float* scores, const ThreadScratch& own) {
    const int32_t label = inputs.query_labels[i];
    const auto range = std::equal_range(scratch.labels, scratch.labels + scratch.m, label);
    const int64_t first = range.first - scratch.labels, last = range.second - scratch.labels, relevant = label < 0 ? 0 : last - first;
    if (outputs.relevant) outputs.relevant[i] = static_cast<int32_t>(relevant);
    if (relevant == 0)
      write_no_measures(outputs, i);
    else if (rank)
      write_measures(outputs, i, own.ranker.ranks(scores, scratch.order, first, last), relevant, scratch, own.precision);
    if (outputs.matching || outputs.own_rank) write_matching(inputs, outputs, i, scores, first, last, scratch);
  });
}

void retrieval_top_k(const duet_context& context, const RetrievalInputs& inputs, Matrix<int32_t> indices, Matrix<float> scores, Workspace workspace) {
  if (inputs.queries.rows == 0 || indices.columns == 0) return;
  const Scratch scratch(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns);
  const int64_t best = std::min(indices.columns, scratch.m);
  const int64_t kept = std::min(scratch.m, std::max<int64_t>(2 * best, 1024));  // candidates gathered before they are cut down to the best
  const auto as_given = [](int64_t j) { return j; };
  for_each_query(context, inputs, scratch, as_given, [&](int64_t i, const float* row, const ThreadScratch& own) {
    uint64_t* keys = own.ranker.keys();
    int64_t size = 0;
    uint64_t limit = UINT64_MAX;  // keys from here on are behind the best seen
    for (int64_t j = 0; j < scratch.m; ++j) {
      const uint64_t key = rank_key(row[j], j);
      if (key >= limit) continue;
      if (size == kept) {
        std::nth_element(keys, keys + best - 1, keys + size);
        limit = keys[best - 1];
        size = best;
        if (key >= limit) continue;
      }
      keys[size++] = key;
    }
    if (size > best) std::nth_element(keys, keys + best - 1, keys + size);
    std::sort(keys, keys + best);
    for (int64_t k = 0; k < indices.columns; ++k) {
      const int32_t index = k < best ? static_cast<int32_t>(keys[k]) : -1;
      indices.row(i)[k] = index;
      if (scores) scores.row(i)[k] = index < 0 || row[index] == kLastScore ? kNaN : row[index];
    }
  });
}

}  // namespace duet::cpu
