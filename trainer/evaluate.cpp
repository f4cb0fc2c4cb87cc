#include "trainer/evaluate.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <tuple>

namespace duet {
namespace {

// The share of rows that equal a row of another item, bit for bit. groups: empty, or one a row; a row of group -1 is an
// item of its own.
double coinciding(const data::Features& rows, const std::vector<int32_t>& groups) {
  struct Row {
    size_t hash;
    std::string_view bytes;
    int64_t item;  // the group; below 0: the row's own
  };
  std::vector<Row> sorted;
  for (int64_t i = 0; i < rows.rows; ++i) {
    const std::string_view bytes(reinterpret_cast<const char*>(rows.row(i)),
                                 static_cast<size_t>(rows.columns) * sizeof(float));
    const int64_t group = groups.empty() ? -1 : groups[static_cast<size_t>(i)];
    sorted.push_back({std::hash<std::string_view>()(bytes), bytes, group < 0 ? -1 - i : group});
  }
  std::sort(sorted.begin(), sorted.end(), [](const Row& a, const Row& b) {
    return std::tie(a.hash, a.bytes, a.item) < std::tie(b.hash, b.bytes, b.item);
  });
  int64_t count = 0;
  for (size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
    while (end < sorted.size() && sorted[end].hash == sorted[begin].hash && sorted[end].bytes == sorted[begin].bytes)
      ++end;
    if (sorted[begin].item != sorted[end - 1].item) count += static_cast<int64_t>(end - begin);
  }
  return sorted.empty() ? 0 : static_cast<double>(count) / static_cast<double>(sorted.size());
}

}  // namespace

Evaluation evaluate(duet_context* context, const data::Features& a, const data::Features& v,
                    const std::vector<int32_t>& labels, const std::vector<int32_t>& groups,
                    const std::function<void()>& between, const data::LabelSets& sets) {
  const RankedRows a_rows = {a, labels, groups, sets}, v_rows = {v, labels, groups, sets};
  return {rank(context, a_rows, v_rows, {.paired = true}, between),
          rank(context, v_rows, a_rows, {.paired = true}, between),
          {coinciding(a, groups), coinciding(v, groups)}};
}

Evaluation evaluate(duet_context* context, const data::Features& a, const data::Features& v, const data::Split& split,
                    const std::function<void()>& between) {
  return evaluate(context, a, v, split.labels, split.groups, between, split.sets);
}

OneWayEvaluation evaluate(duet_context* context, const RankedRows& queries, const RankedRows& gallery, Pairing pairing,
                          const std::function<void()>& between) {
  return {rank(context, queries, gallery, pairing, between),
          {coinciding(queries.rows, queries.groups), coinciding(gallery.rows, gallery.groups)}};
}

Evaluation evaluate(duet_context* context, const Model& model, const data::Split& split) {
  const int64_t block_rows = model.description().config.evaluation_block_rows;
  return evaluate(context, model.embed(context, 0, split.features[0], block_rows),
                  model.embed(context, 1, split.features[1], block_rows), split);
}

}  // namespace duet
