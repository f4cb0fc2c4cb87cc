#include "data/label_sets.h"

#include <algorithm>
#include <bit>

#include "kernels/core/error.h"

namespace duet::data {
namespace {

using Words = std::span<const int32_t>;

// Whether the lowest class that only one of them has is a's.
bool stands_before(Words a, Words b) {
  for (size_t k = 0; k < a.size(); ++k) {
    const auto x = static_cast<uint32_t>(a[k]), y = static_cast<uint32_t>(b[k]);
    if (x != y) return (x >> std::countr_zero(x ^ y) & 1) != 0;
  }
  return false;
}

bool is_empty(Words words) {
  return std::ranges::all_of(words, [](int32_t word) { return word == 0; });
}

}  // namespace

std::vector<int32_t> classes_of(const LabelSets& sets, int32_t label) {
  if (label < 0) return {};
  if (!sets.given()) return {label};
  std::vector<int32_t> out;
  const Words words = sets.row(label);
  for (size_t k = 0; k < words.size(); ++k)
    for (auto left = static_cast<uint32_t>(words[k]); left != 0; left &= left - 1)
      out.push_back(static_cast<int32_t>(32 * k) + std::countr_zero(left));
  return out;
}

bool alike(const LabelSets& sets, int32_t a, int32_t b) {
  if (a < 0 || b < 0) return false;
  if (a == b || !sets.given()) return a == b;
  const Words x = sets.row(a), y = sets.row(b);
  for (size_t k = 0; k < x.size(); ++k)
    if ((x[k] & y[k]) != 0) return true;
  return false;
}

SetLabels label_by_set(std::span<const LabelSets* const> rows) {
  SetLabels out;
  std::vector<Words> distinct;
  for (const LabelSets* list : rows) {
    out.sets.classes = list->classes;
    for (int64_t i = 0; i < list->count(); ++i)
      if (!is_empty(list->row(i))) distinct.push_back(list->row(i));
  }
  std::ranges::sort(distinct, stands_before);
  distinct.erase(
      std::unique(distinct.begin(), distinct.end(), [](Words a, Words b) { return std::ranges::equal(a, b); }),
      distinct.end());
  require(distinct.size() <= INT32_MAX, "labels: more than 2^31 - 1 distinct sets");
  for (const Words words : distinct) out.sets.words.insert(out.sets.words.end(), words.begin(), words.end());
  for (const LabelSets* list : rows) {
    std::vector<int32_t>& labels = out.labels.emplace_back();
    labels.reserve(static_cast<size_t>(list->count()));
    for (int64_t i = 0; i < list->count(); ++i) {
      const Words words = list->row(i);
      const auto place = std::ranges::lower_bound(distinct, words, stands_before);
      labels.push_back(is_empty(words) ? -1 : static_cast<int32_t>(place - distinct.begin()));
    }
  }
  return out;
}

std::vector<int32_t> strata_of(std::span<const int32_t> labels, const LabelSets& sets) {
  std::vector<int32_t> out(labels.begin(), labels.end());
  if (!sets.given()) return out;
  std::vector<int64_t> rows_of_set(static_cast<size_t>(sets.count())), rows_of_class(static_cast<size_t>(sets.classes));
  for (const int32_t label : labels)
    if (label >= 0) ++rows_of_set[static_cast<size_t>(label)];
  for (int32_t set = 0; set < sets.count(); ++set)
    for (const int32_t c : classes_of(sets, set))
      rows_of_class[static_cast<size_t>(c)] += rows_of_set[static_cast<size_t>(set)];
  std::vector<int32_t> rarest;
  for (int32_t set = 0; set < sets.count(); ++set) {
    const std::vector<int32_t> classes = classes_of(sets, set);
    rarest.push_back(
        *std::ranges::min_element(classes, {}, [&](int32_t c) { return rows_of_class[static_cast<size_t>(c)]; }));
  }
  for (int32_t& label : out)
    if (label >= 0) label = rarest[static_cast<size_t>(label)];
  return out;
}

}  // namespace duet::data
