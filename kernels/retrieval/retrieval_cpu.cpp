// A work item is a block of queries, which one thread owns. The thread computes the block's scores against the whole
// gallery into its scratch (block x m, so O(m)), then each query reads its row. The gallery is normalised and packed
// once; for the measures, rows that hold NaN or an infinity are left out. A row of zeros scores 0. The product gives
// equal rows equal scores wherever they stand (kernels/cpu/tile_product.h); without that, ties would not be ties.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/retrieval/retrieval_backends.h"
#include "kernels/retrieval/retrieval_loops.h"
#include "kernels/retrieval/retrieval_measures_cpu.h"

namespace duet::cpu {
namespace {

constexpr int64_t kScoresOfBlock = 2'000'000;  // 8 MB a thread
constexpr int64_t kPackedRows = 256;           // gallery rows of a tile; a multiple of every panel width
constexpr float kNaN = __builtin_nanf("");

// With more rows, a panel in L1 serves more products. With fewer rows, there is work for more threads, and the scratch
// stays small for a huge gallery.
int64_t block_rows(int64_t n, int64_t m) {
  const int64_t most = n >= 1024 ? 36 : 24;
  return std::clamp<int64_t>(kScoresOfBlock / std::max<int64_t>(m, 1) / 12 * 12, 12, most);
}

struct ThreadScratch {
  float *queries, *scores;  // block x d, normalised; block x padded gallery
  uint64_t* best;           // keys of the best items
  MeasureScratch measures;

  ThreadScratch(Workspace& workspace, int64_t rows, int64_t d, int64_t gallery, int64_t padded_gallery, bool label_sets)
      : queries(workspace.take<float>(rows * d)),
        scores(workspace.take<float>(rows * padded_gallery)),
        best(workspace.take<uint64_t>(gallery)),
        measures(workspace, gallery, label_sets) {}
};

// What the threads share, and where each thread's own part starts.
struct Scratch {
  int64_t m, d, padded, rows;
  bool label_sets;
  float *gallery, *packed;  // m x d, normalised, and its panels
  double* norms;            // of the gallery's rows as given
  uint64_t* by_label;       // m, (label, index) while sorting
  GalleryOrder order;
  Workspace threads;
  size_t thread_bytes;

  Scratch(Workspace& workspace, const duet_context& context, int64_t n, int64_t m, int64_t d, bool label_sets)
      : m(m),
        d(d),
        padded(ceil_div(m + kPadding, kPadding) * kPadding),
        rows(block_rows(n, m)),
        label_sets(label_sets),
        gallery(workspace.take<float>(m * d)),
        packed(workspace.take<float>(packed_size(m, d))),
        norms(workspace.take<double>(m)),
        by_label(workspace.take<uint64_t>(m)),
        order{m,
              workspace.take<int32_t>(m),
              workspace.take<int32_t>(m),
              workspace.take<int32_t>(m),
              workspace.take<int32_t>(m),
              0,
              label_sets ? workspace.take<int32_t>(m + 1) : nullptr},
        threads(workspace) {
    Workspace one;
    ThreadScratch(one, rows, d, m, padded, label_sets);
    thread_bytes = one.used();
    const int64_t count = std::min<int64_t>(context.threads, ceil_div(n, rows));
    workspace.take<char>(static_cast<int64_t>(thread_bytes) * count);
  }

  ThreadScratch thread(int number) const {
    Workspace own = threads;
    own.take<char>(static_cast<int64_t>(thread_bytes) * number);
    return {own, rows, d, m, padded, label_sets};
  }
};

// In double, so that neither 1e-30 nor 1e30 is lost in its square. Not finite where the row is not.
double norm_of(const float* x, int64_t d) {
  double square = 0;
  for (int64_t k = 0; k < d; ++k) square += double{x[k]} * x[k];
  return std::max(std::sqrt(square), kSmallestNorm);  // NaN stays: it is the first operand
}

void normalise(const float* x, double norm, int64_t d, float* out) {
  for (int64_t k = 0; k < d; ++k) out[k] = static_cast<float>(x[k] / norm);
}

void measure_gallery(const duet_context& context, const RetrievalInputs& inputs, const Scratch& scratch) {
  parallel_chunks(context, scratch.m, kPackedRows, [&](int64_t first, int64_t count, int) {
    for (int64_t j = first; j < first + count; ++j) scratch.norms[j] = norm_of(inputs.gallery.row(j), scratch.d);
  });
}

// Calls body(query, its scores, scratch of the thread) for every query, each on one thread. The scores, which body may
// change, are those of `items` rows of the gallery, in the order given, whose norms are known.
template <class Order, class Body>
void for_each_query(const duet_context& context, const RetrievalInputs& inputs, const Scratch& scratch, int64_t items,
                    Order&& order, Body&& body) {
  const int64_t n = inputs.queries.rows, d = scratch.d, padded = scratch.padded;
  parallel_chunks(context, items, kPackedRows, [&](int64_t first, int64_t count, int) {
    for (int64_t j = first; j < first + count; ++j)
      normalise(inputs.gallery.row(order(j)), scratch.norms[order(j)], d, scratch.gallery + j * d);
  });
  const PackedRows gallery = pack_rows(context, {scratch.gallery, items, d, d}, scratch.packed);
  parallel_chunks(context, n, scratch.rows, [&](int64_t first, int64_t count, int thread) {
    const ThreadScratch own = scratch.thread(thread);
    for (int64_t r = 0; r < count; ++r) {
      const float* query = inputs.queries.row(first + r);
      normalise(query, norm_of(query, d), d, own.queries + r * d);
      std::fill_n(own.scores + r * padded + items, kPadding, kLastScore);
    }
    for (int64_t j = 0; j < items; j += kPackedRows) {
      const int64_t columns = std::min(kPackedRows, items - j);
      tile_product({own.queries, count, d, d}, gallery, j, {own.scores + j, count, columns, padded});
      for (int64_t r = 0; r < count; ++r)
        retrieval_clean(own.scores + r * padded + j, columns);  // while the tile is in L1
    }
    for (int64_t r = 0; r < count; ++r) body(first + r, own.scores + r * padded, own);
  });
}

// The gallery's rows with a finite norm, sorted by label, and sorted by group where there are groups.
GalleryOrder sort_gallery(const RetrievalInputs& inputs, const Scratch& scratch) {
  GalleryOrder order = scratch.order;
  order.items = 0;
  for (int64_t j = 0; j < scratch.m; ++j) {
    order.places[j] = -1;
    if (!std::isfinite(scratch.norms[j])) continue;
    scratch.by_label[order.items++] =
        uint64_t{static_cast<uint32_t>(inputs.gallery_labels[j]) ^ 0x80000000u} << 32 | static_cast<uint32_t>(j);
  }
  std::sort(scratch.by_label, scratch.by_label + order.items);
  for (int64_t place = 0; place < order.items; ++place) {
    const auto j = static_cast<int32_t>(scratch.by_label[place]);
    order.rows[place] = j;
    order.labels[place] = inputs.gallery_labels[j];
    order.places[j] = order.by_group[place] = static_cast<int32_t>(place);
  }
  for (int64_t place = 0; scratch.label_sets && place < order.items; ++place)
    if (place == 0 || order.labels[place] != order.labels[place - 1])
      order.starts[order.runs++] = static_cast<int32_t>(place);
  if (scratch.label_sets) order.starts[order.runs] = static_cast<int32_t>(order.items);
  if (inputs.gallery_groups)
    std::sort(order.by_group, order.by_group + order.items, [&](int32_t a, int32_t b) {
      const int32_t group_a = inputs.gallery_groups[order.rows[a]], group_b = inputs.gallery_groups[order.rows[b]];
      return group_a != group_b ? group_a < group_b : a < b;
    });
  return order;
}

// Ascending keys are ranks: higher score first, then lower index.
uint64_t rank_key(float score, int64_t index) {
  return uint64_t{score_key(score)} << 32 | static_cast<uint32_t>(index);
}

}  // namespace

size_t retrieval_workspace(const duet_context& context, int64_t queries, int64_t gallery, int64_t columns,
                           bool label_sets) {
  Workspace measure;
  Scratch(measure, context, queries, gallery, columns, label_sets);
  return measure.used();
}

void retrieval_forward(const duet_context& context, const RetrievalInputs& inputs, const RetrievalOutputs& outputs,
                       Workspace workspace) {
  if (inputs.queries.rows == 0) return;
  const Scratch scratch(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns,
                        bool(inputs.label_sets));
  measure_gallery(context, inputs, scratch);
  const GalleryOrder order = sort_gallery(inputs, scratch);
  const auto row_of = [&](int64_t place) { return order.rows[place]; };
  for_each_query(context, inputs, scratch, order.items, row_of,
                 [&](int64_t i, float* scores, const ThreadScratch& own) {
                   write_measures(inputs, outputs, i, scores, order, own.measures);
                 });
}

void retrieval_top_k(const duet_context& context, const RetrievalInputs& inputs, Matrix<int32_t> indices,
                     Matrix<float> scores, Workspace workspace) {
  if (inputs.queries.rows == 0 || indices.columns == 0) return;
  const Scratch scratch(workspace, context, inputs.queries.rows, inputs.gallery.rows, inputs.queries.columns, false);
  measure_gallery(context, inputs, scratch);
  const auto as_given = [](int64_t j) { return j; };
  for_each_query(context, inputs, scratch, scratch.m, as_given,
                 [&](int64_t i, const float* row, const ThreadScratch& own) {
                   const int64_t left_out = inputs.left_out(i),
                                 best = std::min(indices.columns, scratch.m - (left_out < 0 ? 0 : 1));
                   // Candidates gathered before they are cut down to the best.
                   const int64_t kept = std::min(scratch.m, std::max<int64_t>(2 * best, 1024));
                   uint64_t* keys = own.best;
                   int64_t size = 0;
                   uint64_t limit = UINT64_MAX;  // keys from here on are behind the best seen
                   const auto gather = [&](int64_t first, int64_t end) {
                     for (int64_t j = first; j < end; ++j) {
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
                   };
                   gather(0, left_out < 0 ? scratch.m : left_out);
                   if (left_out >= 0) gather(left_out + 1, scratch.m);
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
