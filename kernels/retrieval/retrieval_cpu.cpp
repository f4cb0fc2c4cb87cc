// A work item is a block of queries, one thread's: its scores against the whole gallery go to that thread's scratch (block x m, so O(m)),
// then each query reads its row. The gallery is normalised once into panels that the product reads straight through.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/retrieval/retrieval_backends.h"
#include "kernels/retrieval/retrieval_loops.h"
#include "kernels/retrieval/retrieval_ranks.h"

namespace duet::cpu {
namespace {

constexpr double kSmallestNorm = 1e-12;        // METHOD.md 1
constexpr int64_t kScoresOfBlock = 2'000'000;  // 8 MB a thread
constexpr float kNaN = __builtin_nanf("");

// More rows read a panel from L1 more often; fewer make work for more threads and keep the scratch small before a huge gallery.
int64_t block_rows(int64_t n, int64_t m) {
  const int64_t most = n >= 1024 ? 64 : 16;
  return std::clamp(kScoresOfBlock / std::max<int64_t>(m, 1) / kQueryGroup * kQueryGroup, kQueryGroup, most);
}

struct ThreadScratch {
  float *groups, *scores;  // block x d, block x padded gallery
  Ranker ranker;

  ThreadScratch(Workspace& workspace, int64_t rows, int64_t d, int64_t gallery, int64_t padded_gallery)
      : groups(workspace.take<float>(rows * d)), scores(workspace.take<float>(rows * padded_gallery)), ranker(workspace, gallery, padded_gallery) {}
};

// What the threads share, and where each thread's own part starts.
struct Scratch {
  int64_t m, d, padded, rows;
  float* panels;              // padded / 32 panels of d x 32
  uint64_t* by_label;         // m, (label, index) while sorting
  int32_t *labels, *members;  // m each: the sorted labels and whose they are
  double* tails;              // m + 1: tails[k] = 1/(k + 1) + ... + 1/m
  Workspace threads;
  size_t thread_bytes;

  Scratch(Workspace& workspace, const duet_context& context, int64_t n, int64_t m, int64_t d)
      : m(m),
        d(d),
        padded(ceil_div(m, kPanel) * kPanel),
        rows(block_rows(n, m)),
        panels(workspace.take<float>(padded * d)),
        by_label(workspace.take<uint64_t>(m)),
        labels(workspace.take<int32_t>(m)),
        members(workspace.take<int32_t>(m)),
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

// Row x / max(|x|, eps), element k at out[k * stride]; the norm in double, so that 1e30 does not overflow.
void normalise(const float* x, int64_t d, float* out, int64_t stride) {
  double square = 0;
  for (int64_t k = 0; k < d; ++k) square += double{x[k]} * x[k];
  const double norm = std::max(std::sqrt(square), kSmallestNorm);  // NaN stays: it is the first operand
  for (int64_t k = 0; k < d; ++k) out[k * stride] = static_cast<float>(x[k] / norm);
}

// Rows first ... of x into a panel (or group) of width rows, zeros past the last.
void pack(Matrix<const float> x, int64_t first, int64_t width, float* panel) {
  for (int64_t r = 0; r < width; ++r) {
    if (first + r < x.rows)
      normalise(x.row(first + r), x.columns, panel + r, width);
    else
      for (int64_t k = 0; k < x.columns; ++k) panel[k * width + r] = 0;
  }
}

// body(query, its scores, scratch of the thread) for every query, each on one thread.
template <class Body>
void for_each_query(const duet_context& context, const RetrievalInputs& inputs, const Scratch& scratch, Body&& body) {
  const int64_t n = inputs.queries.rows, d = scratch.d, padded = scratch.padded;
  parallel_for(context, padded / kPanel, [&](int64_t p, int) { pack(inputs.gallery, p * kPanel, kPanel, scratch.panels + p * kPanel * d); });
  parallel_chunks(context, n, scratch.rows, [&](int64_t first, int64_t count, int thread) {
    const ThreadScratch own = scratch.thread(thread);
    for (int64_t r = 0; r < count; r += kQueryGroup) pack(inputs.queries, first + r, kQueryGroup, own.groups + r * d);
    for (int64_t p = 0; p < padded; p += kPanel)
      for (int64_t r = 0; r < count; r += kQueryGroup)
        retrieval_scores(own.groups + r * d, scratch.panels + p * d, d, own.scores + r * padded + p, padded);
    for (int64_t r = 0; r < count; ++r) body(first + r, own.scores + r * padded, own.ranker);
  });
}

void sort_by_label(const Vector<const int32_t>& labels, const Scratch& scratch) {
  for (int64_t j = 0; j < labels.size; ++j)
    scratch.by_label[j] = uint64_t{static_cast<uint32_t>(labels[j]) ^ 0x80000000u} << 32 | static_cast<uint32_t>(j);
  std::sort(scratch.by_label, scratch.by_label + labels.size);
  for (int64_t j = 0; j < labels.size; ++j) {
    scratch.members[j] = static_cast<int32_t>(scratch.by_label[j]);
    scratch.labels[j] = labels[scratch.members[j]];
  }
}

void sum_tails(const Scratch& scratch) {
  scratch.tails[scratch.m] = 0;
  for (int64_t k = scratch.m; k > 0; --k) scratch.tails[k - 1] = scratch.tails[k] + 1.0 / static_cast<double>(k);
}

// METHOD.md 7 on the ranks, ascending and from 0, of query i's relevant items.
void write_measures(const RetrievalOutputs& outputs, int64_t i, const int32_t* ranks, int64_t relevant, const Scratch& scratch) {
  const auto precision = [&](int64_t r) { return static_cast<double>(r + 1) / static_cast<double>(ranks[r] + 1); };
  const double count = static_cast<double>(relevant);
  if (outputs.average_precision) {
    double sum = 0;
    for (int64_t r = 0; r < relevant; ++r) sum += precision(r);
    outputs.average_precision[i] = static_cast<float>(sum / count);
  }
  if (outputs.precision_at_r) {
    double sum = 0;
    for (int64_t r = 0; r < relevant && ranks[r] < relevant; ++r) sum += precision(r);
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
    int64_t point = kRecallPoints - 1;
    for (int64_t r = relevant - 1; r >= 0; --r) {
      best = std::max(best, precision(r));
      while (point >= 0 && std::max<int64_t>(ceil_div(relevant * point, kRecallPoints - 1), 1) == r + 1)
        outputs.precision_recall.row(i)[point--] = static_cast<float>(best);
    }
  }
}

void write_no_measures(const RetrievalOutputs& outputs, int64_t i) {
  for (const auto& measure : {outputs.average_precision, outputs.precision_at_r, outputs.precision_all_cutoffs})
    if (measure) measure[i] = kNaN;
  if (outputs.first_relevant_rank) outputs.first_relevant_rank[i] = -1;
  if (outputs.precision_recall) std::fill_n(outputs.precision_recall.row(i), kRecallPoints, kNaN);
}

void write_matching(const RetrievalInputs& inputs, const RetrievalOutputs& outputs, int64_t i, const float* scores) {
  const int64_t own = inputs.own(i);
  if (outputs.own_rank) outputs.own_rank[i] = own < 0 ? -1 : static_cast<int32_t>(retrieval_own_rank(scores, inputs.gallery.rows, own));
  if (!outputs.matching) return;
  outputs.matching[i] = kNaN;
  const int32_t label = inputs.query_labels[i];
  if (own < 0 || label < 0) return;
  const BelowOwn items = retrieval_below_own(scores, inputs.gallery_labels.data, inputs.gallery.rows, label, scores[own]);
  if (items.others > 0)
    outputs.matching[i] =
        static_cast<float>((static_cast<double>(items.below) + 0.5 * static_cast<double>(items.tied)) / static_cast<double>(items.others));
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
  for_each_query(context, inputs, scratch, [&](int64_t i, const float* scores, const Ranker& ranker) {
    const int32_t label = inputs.query_labels[i];
    const auto [first, last] = std::equal_range(scratch.labels, scratch.labels + scratch.m, label);
    const int64_t relevant = label < 0 ? 0 : last - first;
    if (outputs.relevant) outputs.relevant[i] = static_cast<int32_t>(relevant);
    if (relevant == 0)
      write_no_measures(outputs, i);
    else if (rank)
      write_measures(outputs, i, ranker.ranks(scores, scratch.members + (first - scratch.labels), relevant), relevant, scratch);
    if (outputs.matching || outputs.own_rank) write_matching(inputs, outputs, i, scores);
  });
}

void retrieval_top_k(const duet_context& context, const RetrievalInputs& inputs, Matrix<int32_t> indices, Matrix<float> scores, Workspace workspace) {
  if (inputs.queries.rows == 0 || indices.columns == 0) return;
  const Scratch scratch(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns);
  const int64_t best = std::min(indices.columns, scratch.m);
  const int64_t kept = std::min(scratch.m, std::max<int64_t>(2 * best, 1024));  // candidates gathered before they are cut down to the best
  for_each_query(context, inputs, scratch, [&](int64_t i, const float* row, const Ranker& ranker) {
    uint64_t* keys = ranker.keys();
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
