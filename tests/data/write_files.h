// Arrays and whole data sets as .npy files, in the folders that FolderFiles reads.
#pragma once

#include <utility>

#include "data/dataset.h"
#include "data/npy.h"
#include "tests/data/npy_files.h"

namespace duet::test {

inline void write_file(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  REQUIRE_MESSAGE(file, "cannot write " << path.string());
}

inline void write_features(const std::filesystem::path& path, const data::Features& features) {
  write_file(path, data::features_header(features) + raw(features.values));
}

// Labels or groups, in the integer type that they have.
template <class Integer>
void write_labels(const std::filesystem::path& path, const std::vector<Integer>& labels) {
  write_file(path,
             npy("<i" + std::to_string(sizeof(Integer)), "(" + std::to_string(labels.size()) + ",)", raw(labels)));
}

// Of shape (n, C): of each row its classes.
inline void write_sets(const std::filesystem::path& path, const std::vector<int32_t>& labels,
                       const data::LabelSets& sets) {
  std::vector<uint8_t> flags;
  for (const int32_t label : labels)
    for (int64_t c = 0; c < sets.classes; ++c) flags.push_back(label >= 0 && sets.holds(label, c));
  write_file(path,
             npy("|u1", "(" + std::to_string(labels.size()) + ", " + std::to_string(sets.classes) + ")", raw(flags)));
}

// Labels as their values.
inline void write_dataset(const std::filesystem::path& folder, const data::Dataset& dataset) {
  for (const auto& [name, split] : {std::pair{"train", &dataset.train}, std::pair{"test", &dataset.test}}) {
    for (size_t side = 0; side < data::kModalities; ++side)
      write_features(folder / name / (dataset.modalities[side] + ".npy"), split->features[side]);
    std::vector<int64_t> labels;
    for (const int32_t id : split->labels)
      labels.push_back(id < 0 || split->sets.given() ? -1 : dataset.label_values[static_cast<size_t>(id)]);
    if (split->sets.given())
      write_sets(folder / name / "labels.npy", split->labels, split->sets);
    else
      write_labels(folder / name / "labels.npy", labels);
    if (!split->groups.empty()) write_labels(folder / name / "groups.npy", split->groups);
  }
}

}  // namespace duet::test
