#include "data/held_out.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "data/label_hiding.h"
#include "kernels/core/error.h"
#include "kernels/core/philox.h"

namespace duet::data {
namespace {

// Rows that stay together, ascending: those of a group, or a row of none.
struct Unit {
  int32_t label;  // of its first labelled row; -1: none has one
  uint32_t word;
  std::vector<int64_t> rows;
};

std::vector<Unit> units_of(std::span<const int32_t> labels, std::span<const int32_t> groups, uint64_t seed) {
  std::vector<Unit> units;
  std::map<int32_t, size_t> of_group;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (!groups.empty() && groups[i] >= 0) {
      const auto [found, is_new] = of_group.emplace(groups[i], units.size());
      if (!is_new) {
        Unit& unit = units[found->second];
        unit.rows.push_back(row);
        if (unit.label < 0) unit.label = labels[i];
        continue;
      }
    }
    units.push_back({labels[i], random_word(seed, kStreamValidation, 0, i), {row}});
  }
  return units;
}

int64_t rows_of(std::span<const Unit> units) {
  int64_t rows = 0;
  for (const Unit& unit : units) rows += std::ssize(unit.rows);
  return rows;
}

// Takes a unit's labels off the count of each class that stays; false, and nothing is taken: a class would lose its
// last one.
bool take_labels(const Unit& unit, std::span<const int32_t> labels, const LabelSets& sets,
                 std::map<int32_t, int64_t>& staying) {
  std::map<int32_t, int64_t> taken;
  for (const int64_t row : unit.rows)
    for (const int32_t label : classes_of(sets, labels[static_cast<size_t>(row)])) ++taken[label];
  for (const auto& [label, count] : taken)
    if (staying[label] <= count) return false;
  for (const auto& [label, count] : taken) staying[label] -= count;
  return true;
}

// Class ids of all rows, -1 for none: equal ids for equal labels.
template <class Label>
std::vector<int32_t> ids_of(const std::vector<Label>& labels, const Label& none) {
  std::vector<Label> values = labels;
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  std::vector<int32_t> ids;
  ids.reserve(labels.size());
  for (const Label& label : labels)
    ids.push_back(label == none ? -1 : static_cast<int32_t>(std::ranges::lower_bound(values, label) - values.begin()));
  return ids;
}

// sets: those that the ids are numbers in, where the column has sets.
std::vector<int32_t> ids_of(const LabelColumn& column, LabelSets& sets) {
  require(column.rows() <= INT32_MAX, column.name, ": more than 2^31 - 1 rows");
  if (!column.sets.given())
    return column.numbers ? ids_of(*column.numbers, int64_t{-1}) : ids_of(*column.names, std::string());
  SetLabels by_set = label_by_set(std::array{&column.sets});
  sets = std::move(by_set.sets);
  return std::move(by_set.labels[0]);
}

template <class Value>
std::optional<std::vector<Value>> some_of(const std::optional<std::vector<Value>>& values,
                                          std::span<const int64_t> rows) {
  if (!values) return std::nullopt;
  std::vector<Value> out;
  out.reserve(rows.size());
  for (const int64_t row : rows) out.push_back((*values)[static_cast<size_t>(row)]);
  return out;
}

LabelSets some_of(const LabelSets& sets, std::span<const int64_t> rows) {
  if (!sets.given()) return {};
  LabelSets out;
  out.classes = sets.classes;
  for (const int64_t row : rows) out.words.insert(out.words.end(), sets.row(row).begin(), sets.row(row).end());
  return out;
}

}  // namespace

std::vector<int64_t> held_out_rows(std::span<const int32_t> labels, std::span<const int32_t> groups, double share,
                                   uint64_t seed, const LabelSets& sets) {
  require(share >= 0 && share <= 1, "share of validation rows: expected 0 to 1, got ", share);
  std::vector<Unit> units = units_of(strata_of(labels, sets), groups, seed);
  std::ranges::sort(units, [](const Unit& a, const Unit& b) {
    return a.label != b.label ? a.label < b.label : a.word != b.word ? a.word < b.word : a.rows[0] < b.rows[0];
  });
  std::map<int32_t, int64_t> staying;
  for (const int32_t label : labels)
    for (const int32_t c : classes_of(sets, label)) ++staying[c];
  std::vector<int64_t> out;
  for (size_t first = 0, next = 0; first < units.size(); first = next) {
    while (next < units.size() && units[next].label == units[first].label) ++next;
    const std::span<const Unit> stratum = std::span(units).subspan(first, next - first);
    int64_t left = round_half_even(share * static_cast<double>(rows_of(stratum)));
    for (const Unit& unit : stratum) {
      if (std::ssize(unit.rows) > left || !take_labels(unit, labels, sets, staying)) continue;
      left -= std::ssize(unit.rows);
      out.insert(out.end(), unit.rows.begin(), unit.rows.end());
    }
  }
  std::ranges::sort(out);
  return out;
}

HeldOutFiles::HeldOutFiles(std::unique_ptr<DatasetFiles> files, const HoldOut& order) : files_(std::move(files)) {
  const std::vector<std::string> there = files_->splits();
  require(std::ranges::find(there, kHeldOut) == there.end(), files_->place(kHeldOut),
          ": the data set has a validation split; expected none where rows of the training split are to validate "
          "(validation ",
          order.share, ")");
  std::optional<LabelColumn> labels = files_->labels(kSource);
  require(labels.has_value(), files_->place(kSource),
          ": no labels (labels.npy, .csv or .tsv); expected a label a row, -1 where there is none");
  shown_ = std::move(*labels);
  LabelSets sets;
  const std::vector<int32_t> all = ids_of(shown_, sets), ids = hide_labels(all, sets, order.labels, order.seed);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0) continue;
    if (shown_.numbers) (*shown_.numbers)[i] = -1;
    if (shown_.names) (*shown_.names)[i].clear();
    if (shown_.sets.given()) shown_.sets.clear(static_cast<int64_t>(i));
  }
  std::vector<int32_t> groups;
  const std::vector<std::string> arrays = files_->arrays(kSource);
  if (std::ranges::find(arrays, kGroups) != arrays.end()) {
    const StoredArray stored = files_->open(kSource, kGroups);
    groups = group_numbers(read_labels(stored.view));
    require(groups.size() == ids.size(), stored.view.name, ": ", groups.size(), " rows; expected ", ids.size(),
            " as there are labels");
  }
  held_out_ = held_out_rows(ids, groups, order.share, order.seed, sets);
  require(!held_out_.empty(), files_->place(kSource), ": validation ", order.share, " of ", ids.size(),
          " rows takes none of them; expected a larger share (the last labelled row of a class stays, and a group's "
          "rows stay together)");
  auto next = held_out_.begin();
  for (int64_t row = 0; row < std::ssize(ids); ++row) {
    if (next != held_out_.end() && *next == row)
      ++next;
    else
      kept_.push_back(row);
  }
}

std::vector<std::string> HeldOutFiles::splits() const {
  std::vector<std::string> out = files_->splits();
  out.push_back(kHeldOut);
  return out;
}

StoredArray HeldOutFiles::open(const std::string& split, const std::string& array) const {
  StoredArray out = files_->open(source_of(split), array);
  if (source_of(split) != kSource) return out;
  ArrayView& view = out.view;
  require(!view.shape.empty() && view.rows() == shown_.rows(), view.name, ": ", view.shape.empty() ? 1 : view.rows(),
          " rows; expected ", shown_.rows(), " as there are labels");
  std::vector<int64_t> rows;
  for (const int64_t row : split == kHeldOut ? held_out_ : kept_) rows.push_back(view.row(row));
  view.taken = std::move(rows);
  return out;
}

std::optional<LabelColumn> HeldOutFiles::labels(const std::string& split) const {
  if (source_of(split) != kSource) return files_->labels(split);
  const std::vector<int64_t>& rows = split == kHeldOut ? held_out_ : kept_;
  return LabelColumn{shown_.name, some_of(shown_.numbers, rows), some_of(shown_.names, rows),
                     some_of(shown_.sets, rows)};
}

}  // namespace duet::data
