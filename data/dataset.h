// A data set: a folder with train/ and test/, each with one .npy a modality and labels.npy (-1: unlabelled). Rows with the same number are a pair.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/features.h"
#include "data/npy.h"

namespace duet::data {

// The two modalities; what METHOD.md calls audio (A) is the first, visual (V) the second.
inline constexpr int kModalities = 2;

struct Split {
  std::array<Features, kModalities> features;  // equal rows
  std::vector<int32_t> labels;                 // -1: unlabelled

  int64_t rows() const { return static_cast<int64_t>(labels.size()); }
};

struct Dataset {
  std::string name;  // for messages and reports: the folder as given, or "digits (built in)"
  std::array<std::string, kModalities> modalities;
  Split train, test;
  int32_t classes = 0;  // the largest label of either split + 1

  int64_t width(int modality) const { return train.features[static_cast<size_t>(modality)].columns; }
};

// Names of the .npy files beside labels.npy, sorted.
std::vector<std::string> list_modalities(const std::filesystem::path& split_folder);

// Loads and checks a whole data set. modalities: two names, or empty for the folder's own two in alphabetical order.
// Errors: DUET_IO_ERROR (the system refuses a file or folder); DUET_INVALID_ARGUMENT, one line that names the file: not a readable .npy,
// unequal rows, unequal widths of train and test, a value that is not finite, a label out of range, a modality that is not there or is one
// of more than two and none was chosen.
Dataset load_dataset(const std::filesystem::path& folder, const std::vector<std::string>& modalities = {}, FortranOrder order = FortranOrder::refuse);
// One split of it, for a model that is already trained.
Split load_split(const std::filesystem::path& split_folder, const std::array<std::string, kModalities>& modalities,
                 FortranOrder order = FortranOrder::refuse);

// Writes folder/train and folder/test as load_dataset reads them; creates the folders.
void write_dataset(const std::filesystem::path& folder, const Dataset& dataset);

// The checks that every source of a data set goes through, widths and rows, and the number of classes.
void complete_dataset(Dataset& dataset);

}  // namespace duet::data
