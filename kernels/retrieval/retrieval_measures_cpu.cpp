#include "kernels/retrieval/retrieval_measures_cpu.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/retrieval/retrieval_loops.h"

namespace duet::cpu {
namespace {

constexpr float kNaN = __builtin_nanf("");

// The places of some rows.
struct Places {
  const int32_t *begin, *end;
};

Places own_places(const RetrievalInputs& inputs, int64_t i, const GalleryOrder& order) {
  const int32_t group = inputs.group(i);
  if (group < 0) {
    const int64_t row = inputs.own(i);
    return row < 0 || order.places[row] < 0 ? Places{nullptr, nullptr}
                                            : Places{order.places + row, order.places + row + 1};
  }
  const auto group_of = [&](int32_t place) { return inputs.gallery_groups[order.rows[place]]; };
  const int32_t *const all = order.by_group, *const end = all + order.items;
  const int32_t* const begin =
      std::lower_bound(all, end, group, [&](int32_t place, int32_t value) { return group_of(place) < value; });
  return {begin,
          std::upper_bound(begin, end, group, [&](int32_t value, int32_t place) { return value < group_of(place); })};
}

void write_found(Matrix<float> to, int64_t i, const Vector<const int64_t>& cutoffs, const TieGroup& group) {
  for (int64_t k = 0; to && k < cutoffs.size; ++k) to.row(i)[k] = static_cast<float>(group.found(cutoffs[k]));
}

// The largest of count values, 0 where all are less. Four maxima are kept at once, so that a comparison waits only for
// the last one of its own maximum.
double largest(const double* values, int64_t count) {
  double best[4] = {0, 0, 0, 0};
  int64_t r = 0;
  for (; r + 4 <= count; r += 4)
    for (int64_t k = 0; k < 4; ++k) best[k] = std::max(best[k], values[r + k]);
  for (; r < count; ++r) best[0] = std::max(best[0], values[r]);
  return std::max(std::max(best[0], best[1]), std::max(best[2], best[3]));
}

// For a query whose relevant items tie with no other item. Each rank then belongs to one item, and only the precisions
// at the relevant items are needed. total: the sum of the precisions.
void write_untied(const RetrievalOutputs& outputs, int64_t i, const Ranks& ranks, int64_t items,
                  const double* precision, double total) {
  const int64_t relevant = ranks.size;
  const int32_t* const rank = ranks.ranks;
  const double count = static_cast<double>(relevant);
  if (outputs.average_precision) outputs.average_precision[i] = static_cast<float>(total / count);
  if (outputs.precision_at_r) {
    double sum = 0;
    for (int64_t r = 0; r < relevant && rank[r] < relevant; ++r) sum += precision[r];
    outputs.precision_at_r[i] = static_cast<float>(sum / count);
  }
  if (outputs.precision_over_cutoffs) {  // between relevant items the truncated AP does not change
    double sum = 0, over = 0;
    for (int64_t r = 0; r < relevant; ++r) {
      sum += precision[r];
      const int64_t next = r + 1 < relevant ? rank[r + 1] : items;
      over += sum / static_cast<double>(static_cast<int32_t>(r) + 1) *
              static_cast<double>(static_cast<int32_t>(next) - rank[r]);
    }
    outputs.precision_over_cutoffs[i] = static_cast<float>(over / static_cast<double>(items));
  }
  if (outputs.precision_recall) {  // P@k peaks at hits, so the best from ceil(R l / 10) hits on is a maximum over hits
    double best = 0;
    int64_t end = relevant;
    for (int64_t point = kRecallPoints - 1; point >= 0; --point) {
      const int64_t begin = std::max<int64_t>(ceil_div(relevant * point, kRecallPoints - 1), 1) - 1;
      best = std::max(best, largest(precision + begin, end - begin));
      end = begin;
      outputs.precision_recall.row(i)[point] = static_cast<float>(best);
    }
  }
}

// The same measures as expectations over ties. Most relevant items tie with no other item even here, and keep their
// precision. The others are handled group by group.
void write_tied(const RetrievalOutputs& outputs, int64_t i, const Ranks& ranks, int64_t items,
                const double* precision) {
  const int64_t relevant = ranks.size;
  const double count = static_cast<double>(relevant);
  const bool cutoffs = static_cast<bool>(outputs.precision_over_cutoffs);
  double sum = 0, at_r = 0, over = 0;
  int64_t end = 0;  // rank behind the last item
  const auto skip_to = [&](int64_t r, int64_t rank) {
    if (cutoffs && r > 0) over += sum / static_cast<double>(r) * static_cast<double>(rank - end);
  };
  for (int64_t r = 0; r < relevant;) {
    if (ranks.tied[r] == 0) {
      const int64_t rank = ranks.ranks[r];
      skip_to(r, rank);
      sum += precision[r];
      end = rank + 1;
      if (end <= relevant) at_r = sum;
      ++r;
      if (cutoffs) over += sum / static_cast<double>(r);
      continue;
    }
    const TieGroup group = ranks.group(r);
    skip_to(r, group.before);
    for (int64_t k = 1; k <= group.size; ++k) {
      sum += group.gain(k);
      if (group.before + k <= relevant) at_r = sum;
      if (cutoffs) over += sum / group.hits(k);
    }
    end = group.before + group.size;
    r += group.relevant;
  }
  skip_to(relevant, items);
  if (outputs.average_precision) outputs.average_precision[i] = static_cast<float>(sum / count);
  if (outputs.precision_at_r) outputs.precision_at_r[i] = static_cast<float>(at_r / count);
  if (outputs.precision_over_cutoffs)
    outputs.precision_over_cutoffs[i] = static_cast<float>(over / static_cast<double>(items));
  if (!outputs.precision_recall) return;
  float* const curve = outputs.precision_recall.row(i);
  double best = 0;  // over the groups behind
  int64_t point = kRecallPoints - 1;
  for (int64_t r = relevant; r > 0;) {
    const bool alone = ranks.tied[r - 1] == 0 && (r == 1 || ranks.scores[r - 2] != ranks.scores[r - 1]);
    const TieGroup group = alone ? TieGroup{ranks.ranks[r - 1], r - 1, 1, 1} : ranks.group(r - 1);
    const double peak = alone ? precision[r - 1] : group.peak();
    for (; point > 0 && relevant * point > (kRecallPoints - 1) * group.hits_before; --point)
      curve[point] = static_cast<float>(std::max(best, alone ? peak : group.peak(relevant, point)));
    best = std::max(best, peak);
    r = group.hits_before;
  }
  curve[0] = static_cast<float>(best);
}

void write_no_labels(const RetrievalOutputs& outputs, int64_t i) {
  for (const auto& measure : {outputs.average_precision, outputs.precision_at_r, outputs.precision_over_cutoffs})
    if (measure) measure[i] = kNaN;
  for (const auto& measures : {outputs.recall, outputs.precision_recall})
    if (measures) std::fill_n(measures.row(i), measures.columns, kNaN);
}

// The scores of a query's items, in an order that begins with those that are not labelled.
struct Placed {
  float* scores;
  int64_t first, last;  // the items whose label is alike to the query's
  int64_t left_out;     // the place that ranks last since it is no item, or -1
};

Placed by_label(float* scores, int32_t label, const GalleryOrder& order, int64_t left_out) {
  const auto [begin, end] = std::equal_range(order.labels, order.labels + order.items, label);
  return {scores, begin - order.labels, end - order.labels, left_out};
}

// Copies the scores to `to`, those whose labels are alike to the query's behind all others.
Placed by_label_sets(const float* scores, const LabelSets& sets, int32_t label, const GalleryOrder& order,
                     int64_t left_out, float* to) {
  Placed placed{to, 0, order.items, left_out};
  int64_t at = 0;
  const auto copy = [&](bool alike) {
    for (int64_t r = 0; r < order.runs; ++r) {
      const int64_t begin = order.starts[r], end = order.starts[r + 1];
      if (sets.alike(label, order.labels[begin]) != alike) continue;
      if (left_out >= begin && left_out < end) placed.left_out = at + left_out - begin;
      std::copy(scores + begin, scores + end, to + at);
      at += end - begin;
    }
  };
  copy(false);
  placed.first = at;
  copy(true);
  std::fill_n(to + at, kPadding, kLastScore);
  return placed;
}

// scores: in the order of the places.
void write_own(const RetrievalInputs& inputs, const RetrievalOutputs& outputs, int64_t i, const float* scores,
               const Placed& placed, const GalleryOrder& order, const Places& own) {
  const int64_t first = placed.first, last = placed.last, left_out = placed.left_out;
  if (outputs.matching) outputs.matching[i] = kNaN;
  float best = kLastScore;
  for (const int32_t* place = own.begin; place < own.end; ++place) best = std::max(best, scores[*place]);
  if (best == kLastScore) {  // no own pair
    if (outputs.pair_recall) std::fill_n(outputs.pair_recall.row(i), outputs.pair_recall.columns, kNaN);
    return;
  }
  int64_t found = 0;
  for (const int32_t* place = own.begin; place < own.end; ++place) found += scores[*place] == best;
  const int64_t labelled = std::lower_bound(order.labels, order.labels + order.items, 0) - order.labels;
  const auto below = [&](int64_t begin, int64_t end) {
    return retrieval_below(placed.scores + begin, end - begin, best);
  };
  const bool matches = inputs.query_labels[i] >= 0;
  Below others;
  if (matches) others += below(labelled, first), others += below(last, order.items);
  const int64_t no_item = left_out >= labelled && (left_out < first || left_out >= last) ? 1 : 0,
                count = first - labelled + order.items - last - no_item;
  if (outputs.matching && matches && count > 0)
    outputs.matching[i] =
        static_cast<float>((static_cast<double>(others.below - no_item) + 0.5 * static_cast<double>(others.tied)) /
                           static_cast<double>(count));
  if (!outputs.pair_recall) return;
  Below all = others;
  if (matches)
    all += below(0, labelled), all += below(first, last);
  else
    all += below(0, order.items);
  write_found(outputs.pair_recall, i, inputs.cutoffs, {order.items - all.below - all.tied, 0, all.tied, found});
}

}  // namespace

void write_measures(const RetrievalInputs& inputs, const RetrievalOutputs& outputs, int64_t i, float* scores,
                    const GalleryOrder& order, const MeasureScratch& scratch) {
  // The rows in this order are finite, so a NaN is the query's.
  const bool ranked = order.items > 0 && scores[0] != kLastScore;
  const int32_t label = inputs.query_labels[i];
  const int64_t row = inputs.left_out(i), place = row < 0 ? -1 : order.places[row],
                items = order.items - (place < 0 ? 0 : 1);
  if (place >= 0) scores[place] = kLastScore;
  const Placed placed = label >= 0 && inputs.label_sets
                            ? by_label_sets(scores, inputs.label_sets, label, order, place, scratch.apart)
                            : by_label(scores, label, order, place);
  const int64_t first = placed.first, last = placed.last, left_out = placed.left_out;
  const bool among_relevant = left_out >= first && left_out < last;
  const int64_t relevant = label < 0 || !ranked ? 0 : last - first - (among_relevant ? 1 : 0);
  if (outputs.relevant) outputs.relevant[i] = static_cast<int32_t>(relevant);
  if (relevant == 0) {
    write_no_labels(outputs, i);
  } else if (outputs.average_precision || outputs.precision_at_r || outputs.precision_over_cutoffs || outputs.recall ||
             outputs.precision_recall) {
    // What is left out stands behind the relevant items meanwhile, among the others.
    if (among_relevant) std::swap(placed.scores[left_out], placed.scores[last - 1]);
    const Ranks ranks = scratch.ranker.ranks(placed.scores, order.items, first, first + relevant);
    if (among_relevant) std::swap(placed.scores[left_out], placed.scores[last - 1]);
    double* const precision = scratch.precision;
    double total = 0;  // summed in the loop that divides, because neither waits for the other
    for (int64_t r = 0; r < relevant; ++r) {
      precision[r] = static_cast<double>(static_cast<int32_t>(r) + 1) / static_cast<double>(ranks.ranks[r] + 1);
      total += precision[r];
    }
    if (ranks.tied)
      write_tied(outputs, i, ranks, items, precision);
    else
      write_untied(outputs, i, ranks, items, precision, total);
    if (outputs.recall) write_found(outputs.recall, i, inputs.cutoffs, ranks.group(0));
  }
  if (outputs.matching || outputs.pair_recall)
    write_own(inputs, outputs, i, scores, placed, order,
              ranked ? own_places(inputs, i, order) : Places{nullptr, nullptr});
}

}  // namespace duet::cpu
