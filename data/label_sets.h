// Rows that may have several labels: sets of classes, each a row of bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/core/view.h"

namespace duet::data {

// Sets of classes 0 to classes - 1. As it is made, none: a label is then one class.
struct LabelSets {
  int64_t classes = 0;         // C; 0: there are no sets
  std::vector<int32_t> words;  // count() x width(): class c of a set is bit c % 32 of its word c / 32

  LabelSets() = default;
  LabelSets(int64_t class_count, int64_t sets)
      : classes(class_count), words(static_cast<size_t>(sets * ((class_count + 31) / 32))) {}

  bool given() const { return classes > 0; }
  int64_t width() const { return (classes + 31) / 32; }
  int64_t count() const { return given() ? static_cast<int64_t>(words.size()) / width() : 0; }
  std::span<const int32_t> row(int64_t set) const {
    return std::span(words).subspan(static_cast<size_t>(set * width()), static_cast<size_t>(width()));
  }
  bool holds(int64_t set, int64_t c) const { return (static_cast<uint32_t>(word(set, c)) >> (c % 32) & 1) != 0; }
  void put(int64_t set, int64_t c) {
    int32_t& bits = words[static_cast<size_t>(set * width() + c / 32)];
    bits = static_cast<int32_t>(static_cast<uint32_t>(bits) | uint32_t{1} << (c % 32));
  }
  // Of a copy of words in the memory of a context.
  duet_const_matrix view(const int32_t* copy) const { return duet_i32_const_matrix(copy, count(), width()); }
  void clear(int64_t set) {
    for (int64_t k = 0; k < width(); ++k) words[static_cast<size_t>(set * width() + k)] = 0;
  }

  bool operator==(const LabelSets&) const = default;

 private:
  int32_t word(int64_t set, int64_t c) const { return words[static_cast<size_t>(set * width() + c / 32)]; }
};

// The classes of a label, ascending: the label itself where there are no sets, none where it is below 0.
std::vector<int32_t> classes_of(const LabelSets& sets, int32_t label);
// Whether both are labels, 0 or more, that are equal or, where there are sets, share a class.
bool alike(const LabelSets& sets, int32_t a, int32_t b);

// Sets of rows as labels: those of all lists at once, so that one set is one label in all of them.
struct SetLabels {
  LabelSets sets;  // each once; of two the one with the lowest class that the other lacks first
  std::vector<std::vector<int32_t>> labels;  // of each list: numbers in sets, -1 for a set without a class
};
// rows: of equal classes. Errors: DUET_STATUS_INVALID_ARGUMENT (2^31 distinct sets or more).
SetLabels label_by_set(std::span<const LabelSets* const> rows);

// Where a row is drawn or held out by class, the one that stands for it: of its classes the one that the fewest of
// these rows have, the lowest of equal ones; -1 of a row without a label. Without sets the labels themselves.
std::vector<int32_t> strata_of(std::span<const int32_t> labels, const LabelSets& sets);

}  // namespace duet::data
