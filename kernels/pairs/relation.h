// Which pairs of rows are positive and which negative, by numbers of the rows alone: labels, groups and global indices
// (METHOD.md 2), on host and device. Labels may stand for sets of classes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/core/host_device.h"
#include "kernels/core/label_sets.h"

namespace duet {

// Labels and groups are numbers; of two sides' rows the same number is the same label or group, so what has none has a
// number of its own side below 0.
inline constexpr int32_t kNoneOfRow = -1, kNoneOfColumn = -2;
DUET_HOST_DEVICE inline int32_t number_or(int32_t given, int32_t none) { return given < 0 ? none : given; }

// What a pair is: positive, negative, or none of it. Written down as labels of the columns, this says the same to a row
// labelled kAlike.
enum PairKind : int32_t { kNeither = -1, kDifferent = 0, kAlike = 1 };

// What is alike in label or group is positive, and what is not is negative where both sides are labelled.
DUET_HOST_DEVICE inline PairKind pair_kind(bool alike, bool labelled) {
  const PairKind otherwise = labelled ? kDifferent : kNeither;
  return alike ? kAlike : otherwise;
}
// Of rows with these numbers.
DUET_HOST_DEVICE inline PairKind pair_kind(int32_t label_x, int32_t label_y, int32_t group_x, int32_t group_y) {
  return pair_kind((label_x == label_y) | (group_x == group_y), (label_x >= 0) & (label_y >= 0));
}

// What says which pairs are positive: labels alone; also groups, or that own pairs are none; or sets of labels, with
// these or without.
enum class Relating { labels, numbers, sets };

// The numbers of both sides' rows as they are given: below 0 is none.
struct RelationNumbers {
  const int32_t *labels_x, *labels_y;  // n, m; null: all rows are labelled, no two alike
  const int32_t *groups_x, *groups_y;  // n, m; null: no groups
  int64_t own;                         // row i and column i + own are the own pair
  bool exclude_own;                    // which then takes no part
  LabelSets sets;                      // with labels; empty: a label is a class

  // Whether labels alone do not say it all.
  DUET_HOST_DEVICE bool related() const {
    return groups_x != nullptr || groups_y != nullptr || exclude_own || bool(sets);
  }
  // Of the rows from first on.
  DUET_HOST_DEVICE RelationNumbers part(int64_t first) const {
    RelationNumbers out = *this;
    if (labels_x != nullptr) out.labels_x += first;
    if (groups_x != nullptr) out.groups_x += first;
    out.own += first;
    return out;
  }
};

// body(std::integral_constant) with what the relation of numbers is.
template <class Body>
void with_relating(const RelationNumbers& numbers, Body&& body) {
  if (numbers.sets)
    body(std::integral_constant<Relating, Relating::sets>());
  else if (numbers.related())
    body(std::integral_constant<Relating, Relating::numbers>());
  else
    body(std::integral_constant<Relating, Relating::labels>());
}

// The pairs of row i.
class RowRelation {
 public:
  DUET_HOST_DEVICE RowRelation(const RelationNumbers& of, int64_t i)
      : labels_(of.labels_y),
        groups_(of.groups_x != nullptr ? of.groups_y : nullptr),
        label_(of.labels_x != nullptr ? number_or(of.labels_x[i], kNoneOfRow) : 0),
        group_(of.groups_x != nullptr ? number_or(of.groups_x[i], kNoneOfRow) : kNoneOfRow),
        excluded_(of.exclude_own ? i + of.own : -1) {}

  DUET_HOST_DEVICE PairKind operator()(int64_t j) const {
    if (j == excluded_) return kNeither;
    if (labels_ == nullptr) return groups_ == nullptr ? by_numbers<false, false>(j) : by_numbers<false, true>(j);
    return groups_ == nullptr ? by_numbers<true, false>(j) : by_numbers<true, true>(j);
  }
  // As if no pair were excluded, for a loop over the columns: labelled() and grouped() as constants.
  template <bool kLabelled, bool kGrouped>
  DUET_HOST_DEVICE PairKind by_numbers(int64_t j) const {
    return pair_kind(label_, kLabelled ? number_or(labels_[j], kNoneOfColumn) : 1, group_,
                     kGrouped ? number_or(groups_[j], kNoneOfColumn) : kNoneOfColumn);
  }
  bool labelled() const { return labels_ != nullptr; }
  bool grouped() const { return groups_ != nullptr; }
  int64_t excluded() const { return excluded_; }  // a column, or none

 private:
  const int32_t *labels_, *groups_;
  int32_t label_, group_;
  int64_t excluded_;
};

// The same where labels stand for sets.
class RowOfSets {
 public:
  DUET_HOST_DEVICE RowOfSets(const RelationNumbers& of, int64_t i)
      : sets_(of.sets),
        labels_(of.labels_y),
        groups_(of.groups_x != nullptr ? of.groups_y : nullptr),
        label_(of.labels_x[i]),
        group_(of.groups_x != nullptr ? number_or(of.groups_x[i], kNoneOfRow) : kNoneOfRow),
        excluded_(of.exclude_own ? i + of.own : -1) {}

  DUET_HOST_DEVICE PairKind operator()(int64_t j) const {
    if (j == excluded_) return kNeither;
    const int32_t label = labels_[j], group = groups_ != nullptr ? number_or(groups_[j], kNoneOfColumn) : kNoneOfColumn;
    return pair_kind(sets_.alike(label_, label) || group_ == group, (label_ >= 0) & (label >= 0));
  }

 private:
  LabelSets sets_;
  const int32_t *labels_, *groups_;
  int32_t label_, group_;
  int64_t excluded_;
};

}  // namespace duet
