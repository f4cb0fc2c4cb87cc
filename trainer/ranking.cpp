#include "trainer/ranking.h"

#include <algorithm>
#include <map>

#include "kernels/core/error.h"
#include "runtime/memory.h"

namespace duet {
namespace {

constexpr int64_t kCurvePoints = 11;  // of precision over recall
// Scores of one call: two cores rank them in about a second.
constexpr int64_t kScoresAtOnce = int64_t{1} << 26;

// The mean over the entries that count, in float64; NaN where none does.
class Mean {
 public:
  void add(double value) {
    sum_ += value;
    ++count_;
  }
  int64_t count() const { return count_; }
  double value() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : std::nan(""); }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

// The mean of each cutoff's column over the rows that have one.
std::array<double, 3> recalls(const std::vector<float>& rows) {
  std::array<Mean, 3> means;
  for (size_t e = 0; e < rows.size(); ++e)
    if (!std::isnan(rows[e])) means[e % means.size()].add(rows[e]);
  return {means[0].value(), means[1].value(), means[2].value()};
}

// ap: of each query, which counts in each of its classes where it has relevant items.
std::vector<ClassScores> by_class(const RankedRows& queries, const std::vector<int32_t>& relevant,
                                  const std::vector<float>& ap) {
  std::map<int32_t, Mean> means;
  for (size_t i = 0; i < queries.labels.size(); ++i)
    if (relevant[i] > 0)
      for (const int32_t c : data::classes_of(queries.sets, queries.labels[i])) means[c].add(ap[i]);
  std::vector<ClassScores> classes;
  for (const auto& [label, map] : means) classes.push_back({label, map.count(), map.value()});
  return classes;
}

// RankedRows in a context's memory.
struct DeviceRows {
  DeviceRows(duet_context* context, const RankedRows& from)
      : values(context, std::span(from.rows.values)),
        labels(context, std::span(from.labels)),
        groups(context, std::span(from.groups)) {}

  DeviceArray<float> values;
  DeviceArray<int32_t> labels, groups;
};

}  // namespace

DirectionScores rank(duet_context* context, const RankedRows& queries, const RankedRows& gallery, Pairing pairing,
                     const std::function<void()>& between) {
  const int64_t count = queries.rows.rows, items = gallery.rows.rows, width = gallery.rows.columns;
  const auto cutoffs = std::ssize(kRecallCutoffs);
  const bool grouped = !queries.groups.empty() && !gallery.groups.empty();
  const DeviceRows query(context, queries), item(context, gallery);
  const DeviceArray<int32_t> sets(context, std::span(queries.sets.words));
  const DeviceArray<int64_t> ks(context, std::span(kRecallCutoffs));
  duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;
  inputs.gallery = duet_f32_const_matrix(item.values.data(), items, width);
  inputs.gallery_labels = duet_i32_const_vector(item.labels.data(), items);
  if (queries.sets.given()) inputs.label_sets = queries.sets.view(sets.data());
  inputs.paired = pairing.paired;
  inputs.exclude_own = pairing.exclude_own;
  if (grouped) inputs.gallery_groups = duet_i32_const_vector(item.groups.data(), items);
  inputs.cutoffs = duet_i64_const_vector(ks.data(), cutoffs);

  const auto entries = [&](int64_t columns) { return DeviceArray<float>(context, count * columns); };
  const DeviceArray<int32_t> relevant_items(context, count);
  const DeviceArray<float> average_precision = entries(1), precision_at_r = entries(1),
                           precision_over_cutoffs = entries(1), recall_at = entries(cutoffs),
                           precision_recall = entries(kCurvePoints), matching_share = entries(1),
                           pair_recall_at = entries(cutoffs);
  const auto rank_rows = [&](int64_t first, int64_t rows) {
    const auto vector_of = [&](const DeviceArray<float>& array) { return duet_f32_vector(array.data() + first, rows); };
    const auto matrix_of = [&](const DeviceArray<float>& array, int64_t columns) {
      return duet_f32_matrix(array.data() + first * columns, rows, columns);
    };
    inputs.queries = duet_f32_const_matrix(query.values.data() + first * width, rows, width);
    inputs.query_labels = duet_i32_const_vector(query.labels.data() + first, rows);
    if (grouped) inputs.query_groups = duet_i32_const_vector(query.groups.data() + first, rows);
    inputs.first_row = first;
    duet_retrieval_outputs outputs = DUET_RETRIEVAL_OUTPUTS_INIT;
    outputs.relevant = duet_i32_vector(relevant_items.data() + first, rows);
    outputs.average_precision = vector_of(average_precision);
    outputs.precision_at_r = vector_of(precision_at_r);
    outputs.precision_over_cutoffs = vector_of(precision_over_cutoffs);
    outputs.recall = matrix_of(recall_at, cutoffs);
    outputs.precision_recall = matrix_of(precision_recall, kCurvePoints);
    outputs.matching = vector_of(matching_share);
    outputs.pair_recall = matrix_of(pair_recall_at, cutoffs);
    size_t bytes = 0;
    succeed(duet_retrieval_workspace(context, &inputs, &bytes));
    const Memory scratch(context, bytes);
    succeed(duet_retrieval_forward(context, &inputs, &outputs, {scratch.get(), bytes}));
  };
  const int64_t rows_at_once = std::max<int64_t>(1, kScoresAtOnce / std::max<int64_t>(1, items));
  for (int64_t first = 0; first < count; first += rows_at_once) {
    if (between) between();
    rank_rows(first, std::min(rows_at_once, count - first));
  }
  const std::vector<int32_t> relevant = relevant_items.read();
  std::vector<float> ap = average_precision.read();
  const std::vector<float> at_r = precision_at_r.read(), over_cutoffs = precision_over_cutoffs.read(),
                           recall = recall_at.read(), curves = precision_recall.read(),
                           matching = matching_share.read(), pair_recall = pair_recall_at.read();

  DirectionScores scores;
  Mean map, map_at_r, map_over_cutoffs, match;
  std::array<Mean, kCurvePoints> curve;
  for (size_t i = 0; i < relevant.size(); ++i) {
    if (!std::isnan(matching[i])) match.add(matching[i]);
    if (relevant[i] == 0) continue;
    ++scores.queries;
    map.add(ap[i]);
    map_at_r.add(at_r[i]);
    map_over_cutoffs.add(over_cutoffs[i]);
    for (size_t l = 0; l < curve.size(); ++l) curve[l].add(curves[i * kCurvePoints + l]);
  }
  scores.map = map.value();
  scores.map_at_r = map_at_r.value();
  scores.map_over_cutoffs = map_over_cutoffs.value();
  scores.matching_1_of_2 = match.value();
  scores.recall = recalls(recall);
  scores.pair_recall = recalls(pair_recall);
  for (size_t l = 0; l < curve.size(); ++l) scores.precision_recall[l] = curve[l].value();
  scores.classes = by_class(queries, relevant, ap);
  scores.recall_at_1.resize(ap.size());
  for (size_t i = 0; i < ap.size(); ++i) scores.recall_at_1[i] = recall[i * kRecallCutoffs.size()];
  scores.average_precision = std::move(ap);
  return scores;
}

}  // namespace duet
