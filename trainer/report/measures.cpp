#include "trainer/report/measures.h"

#include <algorithm>
#include <set>
#include <span>

#include "data/feature_source.h"
#include "data/samples/samples.h"
#include "kernels/core/sized.h"
#include "runtime/memory.h"
#include "trainer/report/draw.h"
#include "trainer/report/png.h"
#include "trainer/report/projection.h"

namespace duet::report {
namespace {

constexpr int64_t kFound = 6, kQueries = 8;           // items of an example, examples
constexpr int64_t kPairs = 1000;                      // that are projected,
constexpr int64_t kMostProjected = int64_t{1} << 24;  // and values of theirs
// Scores of one call: two cores rank them in about a second.
constexpr int64_t kScoresAtOnce = int64_t{1} << 26;

// The first items of every query.
struct Found {
  int64_t each = 0;
  std::vector<int32_t> items;
  std::vector<float> scores;
};

Found search(duet_context* context, const data::Features& queries, const data::Features& gallery,
             const std::function<void()>& between) {
  const int64_t count = queries.rows;
  Found found;
  found.each = std::min(kFound, gallery.rows);
  if (found.each == 0) return found;
  const DeviceArray<float> query_values(context, std::span(queries.values)),
      gallery_values(context, std::span(gallery.values));
  const DeviceArray<int32_t> items(context, count * found.each);
  const DeviceArray<float> scores(context, count * found.each);
  const int64_t rows_at_once = std::max<int64_t>(1, kScoresAtOnce / gallery.rows);
  for (int64_t first = 0; first < count; first += rows_at_once) {
    if (between) between();
    const int64_t rows = std::min(rows_at_once, count - first);
    duet_retrieval_inputs inputs = DUET_RETRIEVAL_INPUTS_INIT;
    inputs.queries = duet_f32_const_matrix(query_values.data() + first * queries.columns, rows, queries.columns);
    inputs.gallery = duet_f32_const_matrix(gallery_values.data(), gallery.rows, gallery.columns);
    inputs.first_row = first;
    size_t bytes = 0;
    succeed(duet_retrieval_workspace(context, &inputs, &bytes));
    const Memory scratch(context, bytes);
    succeed(duet_retrieval_top_k(context, &inputs,
                                 sized<duet_retrieval_top_k_outputs>(
                                     {.indices = duet_i32_matrix(items.data() + first * found.each, rows, found.each),
                                      .scores = duet_f32_matrix(scores.data() + first * found.each, rows, found.each)}),
                                 {scratch.get(), bytes}));
  }
  found.items = items.read();
  found.scores = scores.read();
  return found;
}

Confusion confuse(const std::vector<int32_t>& labels, const Found& found) {
  Confusion out;
  out.classes = largest_classes(labels, Confusion::kMostClasses);
  std::ranges::sort(out.classes);
  const size_t known = out.classes.size();
  const auto place = [&](int32_t label) {
    const auto at = std::ranges::lower_bound(out.classes, label);
    return at != out.classes.end() && *at == label ? static_cast<size_t>(at - out.classes.begin()) : known;
  };
  out.counts.assign(known + 1, std::vector<int64_t>(known + 2));
  for (size_t i = 0; i < labels.size() && found.each > 0; ++i) {
    if (labels[i] < 0) continue;
    const int32_t first = found.items[i * static_cast<size_t>(found.each)];
    const int32_t label = first < 0 ? -1 : labels[static_cast<size_t>(first)];
    const size_t row = place(labels[i]), column = label < 0 ? known + 1 : place(label);
    ++out.counts[row][column];
    ++out.queries;
    out.others = out.others || row == known || column == known;
    out.unlabelled = out.unlabelled || label < 0;
  }
  if (!out.others) out.counts.pop_back();
  for (std::vector<int64_t>& row : out.counts) {
    if (!out.unlabelled) row.pop_back();
    if (!out.others) row.erase(row.begin() + static_cast<std::ptrdiff_t>(known));
  }
  return out;
}

// Queries of as many classes as there are, then others.
std::vector<int64_t> drawn_queries(const std::vector<int32_t>& labels, uint64_t seed) {
  const std::vector<int64_t> order = shuffled(std::ssize(labels), seed);
  std::vector<int64_t> queries;
  std::set<int32_t> classes;
  for (const int64_t row : order)
    if (std::ssize(queries) < kQueries && labels[static_cast<size_t>(row)] >= 0 &&
        classes.insert(labels[static_cast<size_t>(row)]).second)
      queries.push_back(row);
  for (const int64_t row : order)
    if (std::ssize(queries) < kQueries && std::ranges::find(queries, row) == queries.end()) queries.push_back(row);
  std::ranges::sort(queries, {}, [&](int64_t row) { return std::pair(labels[static_cast<size_t>(row)], row); });
  return queries;
}

std::vector<Example> examples_of(const std::vector<int64_t>& queries, const Found& found) {
  std::vector<Example> out;
  for (const int64_t query : queries) {
    Example example{query, {}, {}};
    for (int64_t k = query * found.each; k < (query + 1) * found.each; ++k) {
      const auto at = static_cast<size_t>(k);
      if (found.items[at] < 0) break;
      example.items.push_back(found.items[at]);
      example.scores.push_back(found.scores[at]);
    }
    out.push_back(std::move(example));
  }
  return out;
}

void project(SplitMeasures& out, const std::array<data::Features, data::kModalities>& embeddings, uint64_t seed) {
  const int64_t columns = embeddings[0].columns;
  out.projected = shuffled(embeddings[0].rows, seed);
  const int64_t most = std::clamp<int64_t>(kMostProjected / std::max<int64_t>(1, 2 * columns), 2, kPairs);
  if (std::ssize(out.projected) > most) out.projected.resize(static_cast<size_t>(most));
  std::ranges::sort(out.projected);
  const int64_t pairs = std::ssize(out.projected);
  data::Features both(2 * pairs, columns);
  for (int64_t side = 0; side < 2; ++side)
    for (int64_t i = 0; i < pairs; ++i)
      std::copy_n(embeddings[static_cast<size_t>(side)].row(out.projected[static_cast<size_t>(i)]), columns,
                  both.row(side * pairs + i));
  Projection plane = principal_plane(both);
  out.share = plane.share;
  const auto middle = plane.points.begin() + pairs;
  out.points[0].assign(plane.points.begin(), middle);
  out.points[1].assign(middle, plane.points.end());
}

}  // namespace

std::vector<int32_t> largest_classes(const std::vector<int32_t>& labels, size_t most) {
  std::map<int32_t, int64_t> sizes;
  for (const int32_t label : labels)
    if (label >= 0) ++sizes[label];
  std::vector<int32_t> classes;
  for (const auto& [label, size] : sizes) classes.push_back(label);
  std::ranges::stable_sort(classes, std::ranges::greater(), [&](int32_t label) { return sizes[label]; });
  if (classes.size() > most) classes.resize(most);
  return classes;
}

SplitMeasures measure(duet_context* context, const std::array<data::Features, data::kModalities>& embeddings,
                      const data::Split& split, const Evaluation& evaluation, uint64_t seed,
                      const std::function<void()>& between) {
  SplitMeasures out;
  out.evaluation = evaluation;
  const std::vector<int64_t> queries = drawn_queries(split.labels, seed);
  for (size_t side = 0; side < data::kModalities; ++side) {
    const Found found = search(context, embeddings[side], embeddings[1 - side], between);
    if (!split.sets.given()) out.confusion[side] = confuse(split.labels, found);
    out.examples[side] = examples_of(queries, found);
  }
  if (between) between();
  project(out, embeddings, seed);
  return out;
}

void add_pictures(SplitMeasures& measures, const std::array<std::string, data::kModalities>& modalities) {
  constexpr int64_t kPixels = 20;  // a side of a drawn digit: data/samples/README.md
  const std::string drawn = "visual";
  const auto side = std::ranges::find(modalities, drawn);
  if (side == modalities.end()) return;
  measures.picture_side = static_cast<int>(side - modalities.begin());
  const data::FeatureSource pixels(data::SampleFiles().open("test", drawn));
  std::vector<double> values(static_cast<size_t>(pixels.columns()));
  const auto add = [&](int64_t row) {
    if (measures.pictures.contains(row)) return;
    pixels.read_row(row, values);
    const std::vector<uint8_t> grey(values.begin(), values.end());
    measures.pictures[row] = png_address(grey, kPixels);
  };
  for (size_t direction = 0; direction < 2; ++direction)
    for (const Example& example : measures.examples[direction]) {
      const bool queries = static_cast<int>(direction) == measures.picture_side;
      if (queries) add(example.query);
      if (!queries) std::ranges::for_each(example.items, add);
    }
}

}  // namespace duet::report
