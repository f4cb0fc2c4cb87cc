// Labels of rows, as numbers or as names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/label_sets.h"
#include "data/stored_array.h"

namespace duet::data {

// The values as they are, labels (-1: unlabelled) or groups: of shape (n) or (n, 1), at least one, whole numbers of 64
// bits. A float is refused where its type no longer holds every whole number, for then two labels may have become one.
// Errors: DUET_STATUS_INVALID_ARGUMENT, one line that names the array.
std::vector<int64_t> read_labels(const ArrayView& view);
std::vector<int64_t> read_labels(const std::filesystem::path& npy);

// A label a row, as whoever made them wrote it. One of three is there, or, of a table whose words all read as numbers,
// numbers and names.
struct LabelColumn {
  std::string name;                               // of the array or file, for messages
  std::optional<std::vector<int64_t>> numbers;    // -1: unlabelled
  std::optional<std::vector<std::string>> names;  // "": unlabelled
  LabelSets sets = {};                            // of each row its classes; none: unlabelled

  int64_t rows() const {
    return sets.given() ? sets.count() : static_cast<int64_t>(numbers ? numbers->size() : names->size());
  }
};
// Of an array of numbers or of strings, of shape (n) or (n, 1); or of sets, an array (n, C), C >= 2, of numbers, of
// which each is 0 or 1: whether the row has the column's class. Errors: as read_labels.
LabelColumn label_column(const ArrayView& view);

// Strings of an array of shape (n) or (n, 1), in UTF-8.
std::vector<std::string> read_strings(const ArrayView& view);
// UTF-8 as the characters that it stands for.
std::u32string utf32(const std::string& utf8);

}  // namespace duet::data
